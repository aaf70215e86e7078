"""A new fidelity for a trained model, in closed form on its frozen backbone."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from idle_md.data import GeometryTensors, Labels, Store, load
from idle_md.memory import keep_freed_memory
from idle_md.nn import Potential, load_checkpoint, save_checkpoint
from idle_md.train.batches import Indices
from idle_md.train.closed_form.correction import Correction, fit_correction
from idle_md.train.closed_form.student import distil
from idle_md.train.config import TrainConfig, parse_config
from idle_md.train.errors import potential_predictor, predict_all
from idle_md.train.finetune import check_elements, copy_head
from idle_md.train.fit.loop import checkpoint_metadata, label_table, write_metrics
from idle_md.train.task import Task

Energies = npt.NDArray[np.float64]
GEOMETRY = ("numbers", "positions", "offsets", "cell", "pbc", "charge")


def adapt(task: Task, source: Potential, base: str, steps: int, console: Console | None) -> None:
    """Add the target to a trained model and write ``best.ckpt`` and ``metrics.json``.

    The difference of the target and a fidelity of the model is fitted by
    :func:`~idle_md.train.closed_form.correction.fit_correction` to all geometries with a target
    energy, those for validation included, since nothing is stopped on. A head of the
    ordinary kind is then trained to give the model's fidelity plus that correction.

    Parameters
    ----------
    task
        The target, and the base if its labels are used.
    source, base
        Trained model, and which of its fidelities is corrected. Differences are taken to its label
        where there is one, and to the model's own energy otherwise.
    steps
        Steps of the distillation.
    console
        Where to show progress; None for silence.

    Raises
    ------
    ValueError
        If the model has the target already, lacks the base or an element, or there are too few
        labels.
    """
    begun = time.monotonic()
    keep_freed_memory()
    check_elements(task.potential, source)
    target = task.config.target
    potential = with_new_head(source, base, target)
    data = _collect(task, source, base)
    correction = fit_correction(
        source, base, data.tensors, data.pool[data.labelled], data.differences
    )
    if console is not None:
        console.print(label_table(task.label_counts))
        console.print(_summary(correction))
    potential.reference_energies[: len(correction.constants), -1] += correction.constants
    left = distil(potential, target, correction, data.tensors, data.pool, steps)
    if console is not None:
        console.print(
            f"Head trained; it misses the correction by {1e3 * left**0.5:.1f} meV/sqrt(atom)"
        )
    adaptation = {
        "base": base,
        "geometries": _packed(task.store.select(data.pool[data.labelled])),
        "differences": torch.from_numpy(data.differences),
        "residual_per_atom": data.base_residual,
    }
    checkpoint = task.config.out / "best.ckpt"
    task.potential = potential
    save_checkpoint(checkpoint, potential, {**checkpoint_metadata(task), "adaptation": adaptation})
    uncertainty = {role: _coverage(checkpoint, task, role) for role in ("test", "ood")}
    write_metrics(task, time.monotonic() - begun, {"uncertainty": uncertainty})


def adapt_config(
    checkpoint: Path,
    source: str,
    fidelity: str,
    out: Path,
    base: str | None = None,
    labels: int | None = None,
    seed: int = 0,
) -> TrainConfig:
    """Return the configuration of an adaptation of a checkpoint to a data set.

    Parameters
    ----------
    checkpoint
        Trained model; geometries that it was validated on are found by its own split.
    source, fidelity
        Data set, see :func:`idle_md.data.load`, and the new fidelity as it is called there.
    out
        Run folder.
    base
        Fidelity of the model that is corrected; by default its target.
    labels
        How many to draw, evenly over the groups; all that may be trained on by default.
    seed
        Of that draw.
    """
    _, about = load_checkpoint(checkpoint)
    base = base or str(about["target"])
    has_base = base in load(source).fidelities
    split = dict(about.get("config", {}).get("data", {}).get("split", {}))
    return parse_config(
        {
            "out": str(out),
            "target": fidelity,
            "labels": {**({base: ["energy"]} if has_base else {}), fidelity: ["energy"]},
            "data": {
                "store": source,
                "split": {**split, "seed": seed},
                "budgets": {} if labels is None else {fidelity: labels},
            },
            "method": {"name": "adapt", "source": base, "checkpoint": str(checkpoint)},
            "seed": seed,
        }
    )


def with_new_head(source: Potential, base: str, fidelity: str) -> Potential:
    """Return a potential with one more head, which starts as a copy of another one.

    Raises
    ------
    ValueError
        If the potential has the new fidelity already, or not the energies of the one to copy.
    """
    column = source.column(base)
    if not source.has_energies(base):
        raise ValueError(
            f"the model was trained on forces of {base!r} alone, so there are no energies to "
            "correct: start from another fidelity"
        )
    if fidelity in source.fidelities:
        raise ValueError(
            f"the model has {fidelity!r} already: start from one without it, or give the new "
            "level another name"
        )
    settings = {**source.hyperparameters, "fidelities": [*source.fidelities, fidelity]}
    potential = Potential.from_hyperparameters(settings)
    potential.to_precision(source.dtype)
    state = source.state_dict()
    reference = state.pop("reference_energies")
    potential.load_state_dict(state, strict=False)
    potential.reference_energies.copy_(torch.cat([reference, reference[:, [column]]], dim=1))
    copy_head(source, base, potential, fidelity)
    return potential


def predictive_std(checkpoint: Path | str, store: Store) -> Energies:
    """Return the standard deviation of an adapted model's energies (G,) in eV.

    Posterior and noise of the Gaussian process, plus what the model missed of its base level on
    validation geometries, per atom.

    Raises
    ------
    ValueError
        If the checkpoint was not made by `adapt`.
    """
    potential, about = load_checkpoint(checkpoint)
    if "adaptation" not in about:
        raise ValueError(
            f"{checkpoint} was not made by `adapt`, so it has no predictive variance: train a "
            "committee with `ensemble` for a spread"
        )
    made, cutoff = about["adaptation"], potential.backbone.cutoff
    trained = _unpacked(made["geometries"], made["base"])
    correction = fit_correction(
        potential,
        made["base"],
        GeometryTensors(trained, cutoff, trained.fidelities, torch.float64),
        np.arange(trained.n_geometries),
        made["differences"].numpy(),
    )
    tensors = GeometryTensors(store, cutoff, store.fidelities, torch.float64)
    variance = correction.variance(tensors, np.arange(store.n_geometries)).numpy()
    std: Energies = np.sqrt(variance + made["residual_per_atom"] * store.n_atoms)
    return std


@dataclass(frozen=True)
class _Data:
    """What the correction is fitted to and distilled on.

    ``pool`` are the geometries that may be trained on, ``labelled`` which of them have a target
    label, and ``base_residual`` is the model's mean square error of the base per atom, eV^2.
    """

    tensors: GeometryTensors
    pool: Indices
    labelled: npt.NDArray[np.bool_]
    differences: Energies
    base_residual: float


def _collect(task: Task, source: Potential, base: str) -> _Data:
    cutoff = source.backbone.cutoff
    tensors = GeometryTensors(task.store, cutoff, task.tensors.fidelities, torch.float64)
    tensors.energies = task.tensors.energies
    pool = np.union1d(task.splits["train"], task.splits["validation"])
    energies = tensors.energies[torch.from_numpy(pool)].numpy()
    known = np.full(len(pool), np.nan)
    if base in tensors.fidelities:
        known = energies[:, tensors.fidelities.index(base)]
    own = _own_energies(source, base, task, pool)
    labelled = ~np.isnan(energies[:, -1])
    differences = (energies[:, -1] - np.where(np.isnan(known), own, known))[labelled]
    held_out = np.isin(pool, task.splits["validation"]) & ~np.isnan(known)
    errors = (own - known)[held_out] ** 2 / task.store.n_atoms[pool][held_out]
    residual = float(errors.mean()) if held_out.any() else 0.0
    return _Data(tensors, pool, labelled, differences, residual)


def _own_energies(source: Potential, base: str, task: Task, indices: Indices) -> Energies:
    predictor = potential_predictor(source, base)
    return predict_all(predictor, task.tensors, torch.from_numpy(indices))[0]


def _summary(correction: Correction) -> str:
    process = correction.process
    left_out = 1e3 * float(process.leave_one_out.abs().nanmean())
    return (
        f"{len(process.alpha)} differences fitted; leave-one-out error {left_out:.1f} meV, "
        f"noise {1e3 * process.noise**0.5:.1f} meV"
    )


def _packed(store: Store) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(getattr(store, name)) for name in GEOMETRY}


def _unpacked(arrays: dict[str, torch.Tensor], base: str) -> Store:
    flat: dict[str, Any] = {name: array.numpy() for name, array in arrays.items()}
    n_geometries, n_atoms = len(flat["offsets"]) - 1, len(flat["numbers"])
    nothing = Labels(np.full(n_geometries, np.nan), np.full((n_atoms, 3), np.nan, np.float32))
    names = np.full(n_geometries, "")
    return Store(**flat, group=names, role=names, labels={base: nothing})


def _coverage(checkpoint: Path, task: Task, role: str) -> dict[str, float | int | None]:
    """Return how the predicted standard deviations compare with the errors of a role."""
    target = task.config.target
    held_out = task.splits.get(role, np.empty(0, np.int64))
    held_out = held_out[task.store.has_energy(target)[held_out]]
    if len(held_out) == 0:
        return {"n_energies": 0, "mean_std_mev": None, "share_within_one_std": None}
    labels = task.store.labels_of(target).energy[held_out]
    errors = np.abs(_own_energies(task.potential, target, task, held_out) - labels)
    std = predictive_std(checkpoint, task.store.select(held_out))
    return {
        "n_energies": len(held_out),
        "mean_std_mev": 1e3 * float(std.mean()),
        "share_within_one_std": float((errors < std).mean()),
    }
