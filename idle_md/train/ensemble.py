"""A committee: the same training with several seeds, and the errors of the mean."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from idle_md.data import Batch, Store, split
from idle_md.files import replacing
from idle_md.nn import Potential, load_checkpoint
from idle_md.train import processes
from idle_md.train.config import TrainConfig
from idle_md.train.errors import Errors, Predictor, evaluate, held_out_errors, potential_predictor
from idle_md.train.fit.loop import versions
from idle_md.train.run import prepare_folder, train
from idle_md.train.task import load_store


def train_ensemble(
    config: TrainConfig, members: int, resume: bool = False, console: Console | None = None
) -> Path:
    """Train the members of a committee one after the other and return the run folder.

    Member k has the seed ``config.seed + k``, the same labels as the others, and the subfolder
    ``member-k``, which is what :func:`~idle_md.train.train` makes of it. ``metrics.json`` of the
    run folder has the same form as that of a single training, for the mean of the members, whose
    own metrics are listed under ``members``.

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
    whole = config.model_copy(update={"ensemble": members})
    processes.by_first(lambda: prepare_folder(whole, resume))
    folders = []
    for k in range(members):
        out, seed = config.out / f"member-{k}", config.seed + k
        changes = {"out": out, "seed": seed, "ensemble": 1, "diagnose": 0}
        if console is not None:
            console.print(f"Member {k + 1} of {members}, seed {seed}, in {out}")
        if not (resume and processes.by_first((out / "metrics.json").is_file)):
            begun = resume and processes.by_first((out / "config.yaml").is_file)
            train(config.model_copy(update=changes), resume=begun, console=console)
        folders.append(out)
    processes.by_first(lambda: _write_metrics(config, folders))
    return config.out


def committee_predictor(potentials: Sequence[Potential], fidelity: str) -> Predictor:
    """Return a function giving the mean of the potentials' energies and of their forces.

    Its results are energies (B,) in eV and forces (N, 3) in eV/angstrom.
    """
    predictors = [potential_predictor(potential, fidelity) for potential in potentials]

    def energies_and_forces(batch: Batch) -> tuple[Tensor, Tensor]:
        energies, forces = zip(*(predictor(batch) for predictor in predictors), strict=True)
        return torch.stack(energies).mean(0), torch.stack(forces).mean(0)

    return energies_and_forces


def _write_metrics(config: TrainConfig, folders: Sequence[Path]) -> None:
    members = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    potentials = [load_checkpoint(folder / "best.ckpt")[0] for folder in folders]
    cutoff = potentials[0].backbone.cutoff
    dtype = potentials[0].dtype

    def errors(store: Store, fidelity: str) -> Errors:
        predictor = committee_predictor(potentials, fidelity)
        return evaluate(predictor, store, fidelity, cutoff, dtype)[0]

    store = load_store(config)
    splits = split(store, **config.data.split.model_dump())
    metrics: dict[str, Any] = {
        **held_out_errors(store, splits, list(members[0]["test"]), errors),
        "label_counts": members[0]["label_counts"],
        "train_seconds": sum(member["train_seconds"] for member in members),
        "versions": versions(),
        "members": members,
    }
    with replacing(config.out / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2))
