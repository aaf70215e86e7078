"""A new fidelity for the potential of the stage before, in closed form on its frozen backbone."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from idle_md.data import GeometryTensors
from idle_md.memory import keep_freed_memory
from idle_md.nn import Potential, load_checkpoint, save_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.batches import Indices
from idle_md.train.closed_form.correction import Correction, fit_correction
from idle_md.train.closed_form.student import distil
from idle_md.train.closed_form.uncertainty import adaptation, coverage, predictive_std
from idle_md.train.config import TrainConfig
from idle_md.train.prediction import potential_predictor, predict_all
from idle_md.train.report import checkpoint_metadata, label_table, write_metrics
from idle_md.train.stage import Stage
from idle_md.train.stages.source import check_elements, copy_head, with_network_of
from idle_md.train.task import Task, build_task

Energies = npt.NDArray[np.float64]


class ClosedForm(Stage):
    """Adds the target to the potential of the stage before.

    The difference of the target and a fidelity of the potential is fitted by
    :func:`~idle_md.train.closed_form.correction.fit_correction` to all geometries with a target
    energy, those for validation included, since nothing is stopped on. A head of the ordinary kind
    is then trained to give the potential's fidelity plus that correction.

    Parameters
    ----------
    config
        The target, and the base if its labels are used; backbone and heads are the potential's.
    folder
        Where to write.
    base
        Which fidelity of the potential is corrected. Differences are taken to its label where there
        is one, and to the potential's own energy otherwise.
    steps
        Steps of the distillation.
    """

    def __init__(self, config: TrainConfig, folder: RunFolder, base: str, steps: int) -> None:
        self.config = config
        self.folder = folder
        self.base = base
        self.steps = steps

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        """Return the potential with one more head.

        Raises
        ------
        ValueError
            If the potential has the target already, lacks the base or an element, or there are too
            few labels.
        """
        assert potential is not None
        source, task = potential, build_task(with_network_of(potential, self.config))
        processes.by_first(lambda: self._adapt(task, source, console))
        return load_checkpoint(self.folder.best_checkpoint)[0]

    def _adapt(self, task: Task, source: Potential, console: Console | None) -> None:
        begun = time.monotonic()
        keep_freed_memory()
        check_elements(task.elements, source)
        target = task.config.target
        potential = with_new_head(source, self.base, target)
        data = _collect(task, source, self.base)
        geometries = data.pool[data.labelled]
        correction = fit_correction(source, self.base, data.tensors, geometries, data.differences)
        if console is not None:
            console.print(label_table(task.label_counts))
            console.print(_summary(correction))
        potential.reference_energies[: len(correction.constants), -1] += correction.constants
        left = distil(potential, target, correction, data.tensors, data.pool, self.steps)
        if console is not None:
            console.print(
                f"Head trained; it misses the correction by {1e3 * left**0.5:.1f} meV/sqrt(atom)"
            )
        labelled = task.store.select(geometries)
        made = adaptation(self.base, labelled, data.differences, data.base_residual)
        metadata = {**checkpoint_metadata(task), "adaptation": made}
        save_checkpoint(self.folder.best_checkpoint, potential, metadata)
        roles = ("test", "ood")
        covered = {role: self._coverage(task, potential, role) for role in roles}
        write_metrics(task, self.folder, time.monotonic() - begun, {"uncertainty": covered})

    def _coverage(
        self, task: Task, potential: Potential, role: str
    ) -> dict[str, float | int | None]:
        """Return how the predicted standard deviations compare with the errors of a role."""
        target = task.config.target
        held_out = task.splits.get(role, np.empty(0, np.int64))
        held_out = held_out[task.store.has_energy(target)[held_out]]
        if len(held_out) == 0:
            return coverage(np.empty(0), np.empty(0))
        labels = task.store.labels_of(target).energy[held_out]
        errors = np.abs(_own_energies(potential, target, task, held_out) - labels)
        std = predictive_std(self.folder.best_checkpoint, task.store.select(held_out))
        return coverage(std, errors)


def with_new_head(source: Potential, base: str, fidelity: str) -> Potential:
    """Return a potential on the same backbone with one more head, a copy of another one.

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
    names = [*source.fidelities, fidelity]
    potential = Potential(source.backbone, names, source.hidden, source.heads.correction_on)
    potential.to_precision(source.dtype)
    potential.heads.load_state_dict(source.heads.state_dict(), strict=False)
    reference = source.reference_energies
    potential.reference_energies.copy_(torch.cat([reference, reference[:, [column]]], dim=1))
    copy_head(source, base, potential, fidelity)
    return potential


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
