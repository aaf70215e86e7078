"""A committee: the same training with several seeds, and the errors of the mean."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from idle_md.data import GeometryTensors, Store, split
from idle_md.nn import Potential, levels, load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.config import TrainConfig
from idle_md.train.errors import (
    Coverage,
    Errors,
    covered,
    errors_of_predictor,
    held_out_errors,
    what_is_known,
)
from idle_md.train.prediction import committee_predictor, potential_predictor, predict_all
from idle_md.train.report import versions
from idle_md.train.run import as_begun, opened_folder, train, train_unless_finished
from idle_md.train.task import load_store


def train_ensemble(
    config: TrainConfig, members: int, resume: bool = False, console: Console | None = None
) -> Path:
    """Train the members of a committee one after the other and return the run folder.

    Member k has the seed ``config.seed + k``, the same labels as the others, and a subfolder that
    is what :func:`~idle_md.train.train` makes of it. The metrics of the run folder have the same
    form as those of a single training, for the mean of the members, whose own metrics are listed
    under ``members``.

    Parameters
    ----------
    config
        What to train on what.
    members
        Their number.
    resume
        Continue a run that was stopped; members that are finished are not trained again.
    console
        Where to show progress; None for silence.

    Raises
    ------
    ValueError
        If the configuration does not fit the data, the folder holds another run, or the loss
        diverges.
    OSError
        If the folder cannot be written.
    """
    processes.join()
    config = as_begun(config, resume)
    whole = config.model_copy(update={"ensemble": members})
    folder = opened_folder(whole, resume)
    folders = [folder.member(k) for k in range(members)]
    for k, member in enumerate(folders):
        seed = config.seed + k
        alone = {"ensemble": 1, "diagnose": 0, "method": config.method.of_member()}
        changes = {"out": member.path, "seed": seed, **alone}
        if console is not None:
            console.print(f"Member {k + 1} of {members}, seed {seed}, in {member.path}")
        one = config.model_copy(update=changes)
        if resume:
            train_unless_finished(one, console)
        else:
            train(one, console=console)
    processes.by_first(lambda: _write_metrics(config, folder, folders))
    return config.out


def _write_metrics(config: TrainConfig, folder: RunFolder, members: Sequence[RunFolder]) -> None:
    metrics = [member.read_metrics() for member in members]
    known = [levels(*load_checkpoint(member.best_checkpoint)) for member in members]

    def errors(store: Store, fidelity: str) -> Errors:
        potentials = [each[fidelity][0] for each in known]
        cutoff, dtype = potentials[0].backbone.cutoff, potentials[0].dtype
        predictor = committee_predictor(potentials, fidelity)
        store = what_is_known(store, potentials[0], fidelity)
        return errors_of_predictor(predictor, store, fidelity, cutoff, dtype)[0]

    store = load_store(config)
    splits = split(store, **config.data.split.model_dump())
    potentials = [each[config.target][0] for each in known]
    roles = {role: store.select(splits[role]) for role in ("test", "ood") if role in splits}
    folder.write_metrics(
        {
            **held_out_errors(store, splits, list(metrics[0]["test"]), errors),
            "uncertainty": {
                role: _spread(potentials, config.target, part)
                for role, part in roles.items()
                if part.n_geometries
            },
            "label_counts": metrics[0]["label_counts"],
            "train_seconds": sum(each["train_seconds"] for each in metrics),
            "versions": versions(),
            "members": metrics,
        }
    )


def _spread(potentials: Sequence[Potential], fidelity: str, store: Store) -> dict[str, Coverage]:
    """Return how the spread of the members compares with the errors of their mean."""
    store = what_is_known(store, potentials[0], fidelity)
    tensors = GeometryTensors(store, potentials[0].backbone.cutoff, [], potentials[0].dtype)
    found = [predict_all(potential_predictor(each, fidelity), tensors) for each in potentials]
    energies, forces, _ = (np.stack(each) for each in zip(*found, strict=True))
    true = store.labels_of(fidelity)
    return {
        "energies": covered(energies.mean(0) - true.energy, energies.std(0, ddof=1)),
        "forces": covered(forces.mean(0) - true.forces, forces.std(0, ddof=1)),
    }
