"""Errors of a model on labelled geometries, as every published table defines them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch

from idle_md.data import GeometryTensors, Store, load
from idle_md.data.difference import difference
from idle_md.deploy import DeployedModel
from idle_md.deploy import load as load_model
from idle_md.deploy.gate import StateWarning, counted, trained_on
from idle_md.devices import find_device
from idle_md.elements import symbols
from idle_md.nn import Potential, levels, load_checkpoint
from idle_md.train.prediction import (
    Predictor,
    deployed_predictor,
    potential_predictor,
    predict_all,
)
from idle_md.units import GPA


class StressErrors(TypedDict, total=False):
    """Mean absolute errors of the components of stresses, where any are labelled."""

    stress_mae_gpa: float
    n_stress: int


class Errors(StressErrors):
    """Mean absolute errors of one fidelity on one split; None where nothing is labelled."""

    energy_mae_mev: float | None
    energy_mae_mev_per_atom: float | None
    relative_energy_mae_mev: float | None
    force_mae_mev_per_angstrom: float | None
    n_energies: int
    n_forces: int


class Coverage(TypedDict):
    """How standard deviations compare with the errors that they were predicted for."""

    n: int
    mean_std_mev: float | None
    share_within_one_std: float | None


class Parity(TypedDict):
    """Labels and predictions side by side, where labelled; energies are relative (G,)."""

    energy_label: npt.NDArray[np.float64]
    energy: npt.NDArray[np.float64]
    force_label: npt.NDArray[np.float64]
    force: npt.NDArray[np.float64]
    stress_label: npt.NDArray[np.float64]
    stress: npt.NDArray[np.float64]


def relative(
    energies: npt.NDArray[np.float64], groups: npt.NDArray[np.str_]
) -> npt.NDArray[np.float64]:
    """Return energies (G,) less the mean of their group."""
    _, members = np.unique(groups, return_inverse=True)
    return energies - (np.bincount(members, energies) / np.bincount(members))[members]


def covered(errors: npt.NDArray[np.float64], std: npt.NDArray[np.float64]) -> Coverage:
    """Return how standard deviations compare with errors of the same shape, where both are known.

    In eV, or eV/angstrom; NaN stands for what is not known.
    """
    known = ~np.isnan(errors) & ~np.isnan(std)
    if not known.any():
        return {"n": 0, "mean_std_mev": None, "share_within_one_std": None}
    return {
        "n": int(known.sum()),
        "mean_std_mev": 1e3 * float(std[known].mean()),
        "share_within_one_std": float((np.abs(errors) < std)[known].mean()),
    }


def errors_of_predictor(
    predictor: Predictor, store: Store, fidelity: str, cutoff: float, dtype: torch.dtype
) -> tuple[Errors, Parity]:
    """Return a model's errors on a store, and the numbers that they come from.

    Parameters
    ----------
    predictor
        Gives energies, forces and stresses of a model.
    store
        Geometries and labels to compare with.
    fidelity
        Level of theory of labels and predictions.
    cutoff, dtype
        The model's, cutoff in angstrom.
    """
    labelled = np.flatnonzero(store.has_label(fidelity))
    part = store.select(labelled)
    if len(labelled) == 0:
        return compare(part, fidelity, np.empty(0), np.empty((0, 3)))
    tensors = GeometryTensors(part, cutoff, [fidelity], dtype)
    return compare(part, fidelity, *predict_all(predictor, tensors))


def errors_of_potential(potential: Potential, store: Store, fidelity: str) -> tuple[Errors, Parity]:
    """Return the errors of one head of a training model, see :func:`errors_of_predictor`.

    A fidelity that was trained on forces alone has errors of forces alone, and none of geometries
    with elements that it does not know.
    """
    dtype, store = potential.dtype, what_is_known(store, potential, fidelity)
    predictor = potential_predictor(potential, fidelity)
    return errors_of_predictor(predictor, store, fidelity, potential.backbone.cutoff, dtype)


def what_is_known(store: Store, potential: Potential, fidelity: str) -> Store:
    """Return the geometries whose elements a fidelity knows, with the labels that it has."""
    unknown = np.setdiff1d(store.elements, potential.elements_of(fidelity))
    if len(unknown):
        strange = np.add.reduceat(np.isin(store.numbers, unknown), store.offsets[:-1], dtype=int)
        store = store.select(np.flatnonzero(strange == 0))
    return store if potential.has_energies(fidelity) else without_energies(store, fidelity)


def without_energies(store: Store, fidelity: str) -> Store:
    """Return a store that hides the energies of one fidelity."""
    labels = store.labels_of(fidelity)
    hidden = replace(labels, energy=np.full_like(labels.energy, np.nan))
    return replace(store, labels={**store.labels, fidelity: hidden})


def errors_of_deployed(model: DeployedModel, store: Store) -> tuple[Errors, Parity]:
    """Return the errors of an exported model, see :func:`errors_of_predictor`."""
    about = model.metadata
    dtype = getattr(torch, about.dtype)
    predictor, cutoff = deployed_predictor(model), about.cutoff_angstrom
    return errors_of_predictor(predictor, store, about.fidelity, cutoff, dtype)


def held_out_errors(
    store: Store,
    splits: Mapping[str, npt.NDArray[np.int64]],
    fidelities: Sequence[str],
    errors: Callable[[Store, str], Errors],
) -> dict[str, dict[str, Errors]]:
    """Return errors on the geometries that are never trained on, by role and fidelity.

    Parameters
    ----------
    store, splits
        Geometries, and the indices of the roles ``test`` and ``ood``, if there are any.
    fidelities
        Levels of theory to compare.
    errors
        Gives those of one fidelity on a store.
    """
    nothing = np.empty(0, np.int64)
    parts = {role: store.select(splits.get(role, nothing)) for role in ("test", "ood")}
    return {role: {f: errors(part, f) for f in fidelities} for role, part in parts.items()}


def compare(
    store: Store,
    fidelity: str,
    energies: npt.NDArray[np.float64],
    forces: npt.NDArray[np.float64],
    stresses: npt.NDArray[np.float64] | None = None,
) -> tuple[Errors, Parity]:
    """Return the errors of energies (G,), forces (A, 3) and, if given, stresses (G, 6)."""
    labels = store.labels_of(fidelity)
    known = store.has_energy(fidelity)
    groups = store.group[known]
    errors = Errors(
        energy_mae_mev=None,
        energy_mae_mev_per_atom=None,
        relative_energy_mae_mev=None,
        force_mae_mev_per_angstrom=None,
        n_energies=int(known.sum()),
        n_forces=int(store.has_forces(fidelity).sum()),
    )
    parity = Parity(
        energy_label=relative(labels.energy[known], groups),
        energy=relative(energies[known], groups),
        force_label=np.empty(0),
        force=np.empty(0),
        stress_label=np.empty(0),
        stress=np.empty(0),
    )
    if known.any():
        difference = energies[known] - labels.energy[known]
        per_atom = difference / store.n_atoms[known]
        errors["energy_mae_mev"] = 1e3 * float(np.abs(difference).mean())
        errors["energy_mae_mev_per_atom"] = 1e3 * float(np.abs(per_atom).mean())
        errors["relative_energy_mae_mev"] = 1e3 * float(np.abs(relative(difference, groups)).mean())
    if store.has_forces(fidelity).any():
        rows = ~np.isnan(labels.forces[:, 0])
        parity["force_label"] = labels.forces[rows].astype(np.float64).ravel()
        parity["force"] = forces[rows].ravel()
        errors["force_mae_mev_per_angstrom"] = 1e3 * float(
            np.abs(parity["force"] - parity["force_label"]).mean()
        )
    strained = store.has_stress(fidelity)
    if strained.any() and stresses is not None:
        parity["stress_label"] = labels.stress[strained].ravel()
        parity["stress"] = stresses[strained].ravel()
        deviations = np.abs(parity["stress"] - parity["stress_label"])
        errors["n_stress"] = int(strained.sum())
        errors["stress_mae_gpa"] = float(deviations.mean()) / GPA
    return errors, parity


def _warn_of_charges(store: Store, fidelity: str, known: Mapping[int, int] | None) -> None:
    """Say how many labels are of charges that a model was not trained on, as far as is known."""
    unseen = store.charge[~np.isin(store.charge, [0] if known is None else list(known))]
    if len(unseen):
        counts = dict(zip(*np.unique(unseen, return_counts=True), strict=True))
        warnings.warn(
            f"{len(unseen)} of {store.n_geometries} geometries with labels of {fidelity!r} have "
            f"the charges {counted(counts, 'charges')}: the model is given no charge, and "
            f"{trained_on(known, 'charges')}",
            StateWarning,
            stacklevel=3,
        )


def errors_of_file(
    path: Path | str,
    source: str | Path,
    device: str = "cpu",
    roles: Sequence[str] | None = None,
) -> dict[str, dict[str, Errors]]:
    """Return the errors of a checkpoint or exported model on a data set, by role and fidelity.

    Parameters
    ----------
    path
        A checkpoint (``.ckpt``), all of whose heads are compared, or an exported model.
    source
        Name of a shipped data set, or a file, see :func:`idle_md.data.load`. Geometries without a
        role are reported under ``all``.
    device
        Where the model runs, see :func:`idle_md.deploy.load`.
    roles
        Which roles are compared, such as ``test``; all by default.

    Warns
    -----
    StateWarning
        If labels are of charges that the model was not trained on, as far as is known.

    Raises
    ------
    ValueError
        If the data set has no labels of any fidelity of the model, or an element is unknown to it;
        if there is no such device, or no geometry of these roles.
    """
    where = find_device(device)
    path, store = Path(path), load(source)
    if roles is not None:
        chosen = np.flatnonzero(np.isin(store.role, list(roles)))
        if len(chosen) == 0:
            there = ", ".join(repr(str(role)) for role in np.unique(store.role))
            raise ValueError(f"{source} has no geometry of role {', '.join(roles)}: it has {there}")
        store = store.select(chosen)
    if path.suffix == ".ckpt":
        potential, about = load_checkpoint(path)
        if about.get("delta_on"):
            store = difference(store, about["target"], about["delta_on"])
        known = levels(potential, about)
        states = {level: each.get("states", {}).get(level) for level, (_, each) in known.items()}
        charges = {level: each and each["charges"] for level, each in states.items()}
        elements = {fidelity: each.elements_of(fidelity) for fidelity, (each, _) in known.items()}

        def errors(part: Store, fidelity: str) -> Errors:
            return errors_of_potential(known[fidelity][0].to(where), part, fidelity)[0]
    else:
        model = load_model(path, where)
        elements = {model.metadata.fidelity: model.metadata.elements}
        charges = {model.metadata.fidelity: model.metadata.charges}

        def errors(part: Store, fidelity: str) -> Errors:
            return errors_of_deployed(model, part)[0]

    shared = [fidelity for fidelity in elements if fidelity in store.fidelities]
    if not shared:
        raise ValueError(
            f"{source} has labels of {', '.join(store.fidelities)}, but {path} predicts "
            + ", ".join(elements)
        )
    for fidelity in shared:
        labelled = np.flatnonzero(store.has_label(fidelity))
        unknown = sorted(set(store.select(labelled).elements) - set(elements[fidelity]))
        if unknown:
            raise ValueError(
                f"{source} has {fidelity!r} labels of elements that {path} does not know there: "
                + ", ".join(symbols(unknown))
            )
        _warn_of_charges(store.select(labelled), fidelity, charges[fidelity])
    parts = {
        str(role): store.select(np.flatnonzero(store.role == role)) for role in set(store.role)
    }
    return {role or "all": {f: errors(part, f) for f in shared} for role, part in parts.items()}
