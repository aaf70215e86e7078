"""Labels of a new level by its closed form: those of the known level, and the correction."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from idle_md.data import GeometryTensors, Labels, Store
from idle_md.nn import Potential
from idle_md.train.batches import Indices
from idle_md.train.closed_form.correction import Correction
from idle_md.train.closed_form.differences import Differences, Values
from idle_md.train.prediction import potential_predictor, predict_all
from idle_md.train.task import Task, labelled_geometries

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class KnownLevel:
    """The known level at some geometries: its labels, and what a model says where there are none.

    Attributes
    ----------
    store
        The geometries, G of them with A atoms in total.
    energies, forces
        (G,) in eV and (A, 3) in eV/angstrom.
    own_energies, own_forces
        The model's.
    has_energy, has_forces
        Where labels stand, (G,) and (A,).
    """

    store: Store
    energies: Values
    forces: Values
    own_energies: Values
    own_forces: Values
    has_energy: Mask
    has_forces: Mask

    def errors(self) -> tuple[float, float]:
        """Return mean squares of the model's errors: per atom in eV^2, in (eV/angstrom)^2."""
        energy = (self.own_energies - self.energies)[self.has_energy]
        per_atom = energy**2 / self.store.n_atoms[self.has_energy]
        forces = (self.own_forces - self.forces)[self.has_forces]
        return _mean(per_atom), _mean(forces**2)


def known_level(store: Store, base: Potential, shown: Labels | None) -> KnownLevel:
    """Return the known level at geometries.

    Parameters
    ----------
    store
        The geometries, G of them.
    base
        The model, of that level alone.
    shown
        Labels of that level; None where there are none to use.
    """
    tensors = GeometryTensors(store, base.backbone.cutoff, [], base.dtype)
    own_energies, own_forces = predict_all(potential_predictor(base, base.fidelities[0]), tensors)
    labels = shown or Labels.empty(store.n_geometries, len(store.numbers))
    has_energy, has_forces = ~np.isnan(labels.energy), ~np.isnan(labels.forces[:, 0])
    return KnownLevel(
        store,
        np.where(has_energy, labels.energy, own_energies),
        np.where(has_forces[:, None], labels.forces, own_forces),
        own_energies,
        own_forces,
        has_energy,
        has_forces,
    )


def shown_labels(task: Task, indices: Indices, fidelity: str) -> Labels | None:
    """Return what a task shows of a fidelity at geometries; None if it is not trained on it."""
    if fidelity not in task.tensors.fidelities:
        return None
    column = task.tensors.fidelities.index(fidelity)
    energies, forces = task.tensors.labels(indices)
    return Labels(energies[:, column].numpy(), forces[:, column].numpy())


def labelled_differences(task: Task, base: Potential) -> Differences:
    """Return what the target's labels of a task have over a model's level.

    Parameters
    ----------
    task
        Of the target, and the known level if its labels are to be used.
    base
        The model, of the known level alone.
    """
    name, target = base.fidelities[0], task.config.target
    pool = np.union1d(task.splits["train"], task.splits["validation"])
    labelled = pool[labelled_geometries(task.tensors)[pool, -1]]
    known = known_level(task.store.select(labelled), base, shown_labels(task, labelled, name))
    high = shown_labels(task, labelled, target)
    assert high is not None
    tested = _some(task.splits["validation"])
    seen = known_level(task.store.select(tested), base, shown_labels(task, tested, name))
    per_atom, of_forces = seen.errors()
    return Differences(
        known.store,
        high.energy - known.energies,
        high.forces - known.forces,
        np.where(known.has_energy, 0.0, per_atom * known.store.n_atoms),
        np.where(known.has_forces[known.store.offsets[:-1]], 0.0, of_forces),
    )


def teacher_labels(
    known: KnownLevel, correction: Correction, cutoff: float
) -> tuple[Values, Values]:
    """Return energies (G,) in eV and forces (A, 3) in eV/angstrom of the new level."""
    tensors = GeometryTensors(known.store, cutoff, [], torch.float64)
    energies, forces = predict_all(correction, tensors)
    return known.energies + energies, known.forces + forces


def _some(indices: Indices, most: int = 256) -> Indices:
    return np.sort(np.random.default_rng(0).permutation(indices)[:most])


def _mean(values: Values) -> float:
    return float(values.mean()) if values.size else 0.0
