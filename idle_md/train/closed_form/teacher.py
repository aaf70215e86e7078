"""Labels of a new level by its closed form: those of the known level, and the correction."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from idle_md.data import GeometryTensors, Labels, Store
from idle_md.elements import symbols
from idle_md.nn import Potential
from idle_md.train.batches import Indices
from idle_md.train.closed_form.correction import Correction
from idle_md.train.closed_form.differences import Differences, Values
from idle_md.train.prediction import potential_predictor, predict_all
from idle_md.train.task import Task, labelled_geometries

Mask = npt.NDArray[np.bool_]
JUDGED = 256  # geometries that a model's own errors are taken from


@dataclass(frozen=True)
class KnownLevel:
    """The known level at some geometries: its labels, or what a model says in their place.

    Attributes
    ----------
    store
        The geometries, G of them with A atoms in total.
    energies, forces
        (G,) in eV and (A, 3) in eV/angstrom.
    has_energy, has_forces
        Where labels stand, (G,) each.
    """

    store: Store
    energies: Values
    forces: Values
    has_energy: Mask
    has_forces: Mask


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
    labels = shown or Labels.empty(store.n_geometries, len(store.numbers))
    energies, forces = labels.energy.copy(), labels.forces.astype(np.float64)
    has_energy, has_forces = ~np.isnan(energies), ~np.isnan(forces[store.offsets[:-1], 0])
    missing = np.flatnonzero(~has_energy | ~has_forces)
    if len(missing):
        own_energies, own_forces, _ = _predicted(store.select(missing), base)
        energies[missing] = np.where(has_energy[missing], energies[missing], own_energies)
        atoms = np.isin(np.repeat(np.arange(store.n_geometries), store.n_atoms), missing)
        kept = ~np.isnan(forces[atoms])
        forces[atoms] = np.where(kept, forces[atoms], own_forces)
    return KnownLevel(store, energies, forces, has_energy, has_forces)


def _predicted(store: Store, base: Potential) -> tuple[Values, Values, Values]:
    tensors = GeometryTensors(store, base.backbone.cutoff, [], base.dtype)
    return predict_all(potential_predictor(base, base.fidelities[0]), tensors)


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

    Raises
    ------
    ValueError
        If geometries to train on have an element that no labelled energy tells of.
    """
    name, target = base.fidelities[0], task.config.target
    pool = np.union1d(task.splits["train"], task.splits["validation"])
    labelled = pool[labelled_geometries(task.tensors)[pool, -1]]
    known = known_level(task.store.select(labelled), base, shown_labels(task, labelled, name))
    high = shown_labels(task, labelled, target)
    assert high is not None
    _check_elements(task, known.store.select(np.flatnonzero(~np.isnan(high.energy))))
    per_atom, of_forces = _errors(task, base)
    return Differences(
        known.store,
        high.energy - known.energies,
        high.forces - known.forces,
        np.where(known.has_energy, 0.0, per_atom * known.store.n_atoms),
        np.where(known.has_forces, 0.0, of_forces),
    )


def teacher_labels(
    known: KnownLevel, correction: Correction, cutoff: float
) -> tuple[Values, Values]:
    """Return energies (G,) in eV and forces (A, 3) in eV/angstrom of the new level."""
    tensors = GeometryTensors(known.store, cutoff, [], correction.dtype)
    energies, forces, _ = predict_all(correction, tensors)
    return known.energies + energies, known.forces + forces


def _check_elements(task: Task, labelled: Store) -> None:
    if labelled.n_geometries == 0:  # forces alone tell no constants, of whatever element
        return
    unknown = sorted(set(task.elements) - set(labelled.elements))
    if unknown:
        target = task.config.target
        raise ValueError(
            f"{task.config.data.store} has geometries with {', '.join(symbols(unknown))}, and none "
            f"of those with a {target!r} energy has it: label some of them, draw more labels, or "
            "leave these geometries out"
        )


def _errors(task: Task, base: Potential) -> tuple[float, float]:
    """Return mean squares of a model's errors: per atom in eV^2, in (eV/angstrom)^2.

    In validation; zeros if the task shows no labels of the model's level there.
    """
    order = np.random.default_rng(0).permutation(task.splits["validation"])
    indices = np.sort(order[:JUDGED])
    shown = shown_labels(task, indices, base.fidelities[0])
    if shown is None or len(indices) == 0:
        return 0.0, 0.0
    store = task.store.select(indices)
    energies, forces, _ = _predicted(store, base)
    per_atom = (energies - shown.energy) ** 2 / store.n_atoms
    squares = (per_atom, (forces - shown.forces) ** 2)
    first, second = (
        float(np.nanmean(each)) if np.isfinite(each).any() else 0.0 for each in squares
    )
    return first, second
