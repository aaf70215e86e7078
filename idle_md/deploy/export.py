"""From checkpoints of training runs to the file that is deployed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idle_md.deploy.artifact import describe, save
from idle_md.deploy.closed_form import extract_closed_form
from idle_md.deploy.committee import CommitteeCore, extract_committee
from idle_md.deploy.core import DeployedCore, extract
from idle_md.deploy.metadata import Metadata
from idle_md.nn import Potential, levels, load_checkpoint
from idle_md.nn.checkpoint import adapted_from
from idle_md.run_folder import RunFolder, checkpoints_of, folder_of


def export_checkpoint(
    checkpoint: str | Path | Sequence[str | Path],
    fidelity: str | None,
    path: str | Path,
    closed_form: bool = False,
) -> Metadata:
    """Export one fidelity of a checkpoint, or of several as one committee.

    Label counts and the level of theory come from the checkpoints, where these agree. Test errors
    come from the metrics of the run folder that holds a checkpoint; a committee's from the run
    folder whose members it is made of.

    Parameters
    ----------
    checkpoint
        One or several checkpoints. A run folder stands for its best checkpoint, or for those of all
        members of its committee.
    fidelity
        What is kept; None is the target of the run, of the first of several. A model that was made
        by `adapt` still has all levels of the one that it was made from.
    path
        File to write.
    closed_form
        Export what ``adapt`` found in closed form as it is, not the model that learned it. It is a
        difference to the level that was corrected, which runs live, as with the method ``delta``.

    Returns
    -------
    Metadata
        What the file says of itself.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If one cannot be read or has no such fidelity, or members do not fit together, see
        :func:`~idle_md.deploy.extract_committee`.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import idle_md
    >>> metadata = idle_md.export("runs/mine", None, "model.pt")
    >>> metadata.fidelity
    'wb97x'
    """
    given = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
    checkpoints = [member for entry in given for member in checkpoints_of(Path(entry))]
    loaded = [load_checkpoint(member) for member in checkpoints]
    fidelity = fidelity or str(loaded[0][1]["target"])
    if closed_form:
        return _export_closed_form(checkpoints, loaded, fidelity, Path(path))
    known = [levels(*each).get(fidelity, each) for each in loaded]
    potentials, trainings = [p for p, _ in known], [training for _, training in known]
    core: DeployedCore | CommitteeCore
    if len(potentials) == 1:
        core = extract(potentials[0], fidelity)
    else:
        names = [str(member) for member in checkpoints]
        _check_differences(names, trainings)
        core = extract_committee(potentials, fidelity, names)
    metadata = _described(checkpoints, potentials, trainings, fidelity)
    save(core, path, metadata)
    return metadata


def _export_closed_form(
    checkpoints: Sequence[Path],
    loaded: Sequence[tuple[Potential, dict[str, Any]]],
    fidelity: str,
    path: Path,
) -> Metadata:
    known = levels(*loaded[0]).get(fidelity, loaded[0])
    if len(loaded) > 1 or "closed_form" not in known[1]:
        raise ValueError(
            f"{checkpoints[0]} holds no closed form of {fidelity!r} alone: give one checkpoint "
            "that was made by `adapt`"
        )
    about = known[1]
    kept = about["closed_form"]
    base = adapted_from(about, kept["base"])
    core = extract_closed_form(base, kept)
    described = describe(
        base,
        kept["base"],
        _shared([about.get("levels", {}).get(fidelity)]),
        about.get("label_counts"),
        _closed_form_errors(folder_of(checkpoints)),
        kept["base"],
        about.get("states", {}).get(fidelity),
    )
    constants = {z: float(core.constants[z]) for z in known[0].elements_of(fidelity)}
    changes = {"fidelity": fidelity, "dtype": "float64", "closed_form": True}
    changes |= {"elements": list(constants), "reference_energies_ev": constants}
    metadata = described.model_copy(update=changes)
    save(core, path, metadata)
    return metadata


def _closed_form_errors(folder: RunFolder | None) -> dict[str, dict[str, float | None]]:
    if folder is None or not folder.is_finished:
        return {}
    found = folder.read_metrics().get("closed_form", {})
    return {role: errors["live"] for role, errors in found.items() if "live" in errors}


def describe_checkpoint(checkpoint: str | Path) -> Metadata:
    """Return what the export of a checkpoint's target, or of a run folder's, would say of itself.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such checkpoint, or it cannot be read.
    """
    checkpoints = checkpoints_of(Path(checkpoint))
    potentials, trainings = zip(*map(load_checkpoint, checkpoints), strict=True)
    return _described(checkpoints, potentials, trainings, str(trainings[0]["target"]))


def _described(
    checkpoints: Sequence[Path],
    potentials: Sequence[Potential],
    trainings: Sequence[dict[str, Any]],
    fidelity: str,
) -> Metadata:
    return describe(
        potentials,
        fidelity,
        _shared([training.get("levels", {}).get(fidelity) for training in trainings]),
        _shared([training.get("label_counts") for training in trainings]),
        _test_errors(folder_of(checkpoints), fidelity),
        trainings[0].get("delta_on"),
        _states_of_all([training.get("states", {}).get(fidelity) for training in trainings]),
    )


def _states_of_all(members: Sequence[Any]) -> dict[str, dict[int, int]] | None:
    """Return the charges and multiplicities that all members know, with the fewest geometries."""
    if None in members:
        return None
    return {
        name: {
            value: min(each[name][value] for each in members)
            for value in members[0][name]
            if all(value in each[name] for each in members)
        }
        for name in members[0]
    }


def _check_differences(names: Sequence[str], trainings: Sequence[dict[str, Any]]) -> None:
    """Check that all members are differences to the same level, or none is one."""
    levels = [training.get("delta_on") or "no other fidelity" for training in trainings]
    for name, level in zip(names, levels, strict=True):
        if level != levels[0]:
            raise ValueError(
                f"{name} is the difference to {level}, but {names[0]} to {levels[0]}: the members "
                "of a committee have the same method"
            )


def _shared(values: Sequence[Any]) -> Any:
    """Return what all members say, or None where they differ."""
    return values[0] if all(value == values[0] for value in values) else None


def _test_errors(folder: RunFolder | None, fidelity: str) -> dict[str, dict[str, float | None]]:
    if folder is None or not folder.is_finished:
        return {}
    errors = folder.read_metrics()
    roles = [role for role in ("test", "ood") if fidelity in errors.get(role, {})]
    return {role: errors[role][fidelity] for role in roles}
