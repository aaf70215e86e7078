"""What a run predicts of geometries that it was not trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from idle_md.data import GeometryTensors, Labels, Store
from idle_md.nn import Potential, levels, load_checkpoint
from idle_md.report.run import Run
from idle_md.train.batches import Indices
from idle_md.train.closed_form.adaptation import KEY as CLOSED_FORM
from idle_md.train.errors import Errors, Parity, compare, without_energies
from idle_md.train.prediction import committee_predictor, predict_all
from idle_md.train.task import allowed_labels, load_store

ROLES = ("test", "ood")


@dataclass(frozen=True)
class HeldOut:
    """Labels and predictions of one fidelity on the geometries of one role that have a label.

    Attributes
    ----------
    role, fidelity
        Which they are; the role ``validation`` where no other has labels of the target.
    indices
        Of the geometries (G,) in the data set.
    store
        These geometries, A atoms in total.
    energies
        Predicted, in eV, shape (G,).
    forces
        Predicted, in eV/angstrom, shape (A, 3).
    stresses
        Predicted, in eV/angstrom^3, shape (G, 6).
    errors, parity
        What comes of them.
    """

    role: str
    fidelity: str
    indices: Indices
    store: Store
    energies: npt.NDArray[np.float64]
    forces: npt.NDArray[np.float64]
    stresses: npt.NDArray[np.float64]
    errors: Errors
    parity: Parity


def held_out(run: Run) -> list[HeldOut]:
    """Return labels and predictions by role and fidelity, where there are labels.

    A run that learned differences gets the low level's own labels added to its predictions.

    Raises
    ------
    FileNotFoundError
        If a checkpoint is missing.
    ValueError
        If the data set has other labels than when the run ended.
    """
    loaded = [load_checkpoint(path) for path in run.folder.checkpoints()]
    models = [levels(*each) for each in loaded]
    store = labelled_at_both(run.store, run.config.target, run.config.method.subtracted)
    roles = {role: run.splits[role] for role in ROLES if role in run.splits}
    if not store.has_label(run.config.target)[np.concatenate([*roles.values()])].any():
        roles = {"validation": _never_fitted(run, [about for _, about in loaded])}
    found = []
    for role, indices in roles.items():
        for fidelity in run.metrics[ROLES[0]]:
            potentials = [model[fidelity][0] for model in models if fidelity in model]
            chosen = indices[store.has_label(fidelity)[indices]]
            if potentials and len(chosen):
                found.append(_predicted(run, role, fidelity, potentials, store, chosen))
    for each in found:
        _check_counts(run, each)
    return found


def labelled_at_both(store: Store, high: str, low: str | None) -> Store:
    """Return a store that hides the labels of a high level which a low one, if any, lacks."""
    if low is None:
        return store
    ours, theirs = store.labels_of(high), store.labels_of(low)
    energy = np.where(np.isnan(theirs.energy), np.nan, ours.energy)
    forces = np.where(np.isnan(theirs.forces), np.float32(np.nan), ours.forces)
    stress = np.where(np.isnan(theirs.stress), np.nan, ours.stress)
    return replace(store, labels={**store.labels, high: Labels(energy, forces, stress)})


def _never_fitted(run: Run, metadata: list[Mapping[str, Any]]) -> Indices:
    """Return the validation geometries; a closed form was fitted to the labels that it may use."""
    indices = run.splits["validation"]
    if any(CLOSED_FORM in about for about in metadata):
        fitted = allowed_labels(run.config, load_store(run.config), run.splits)[run.config.target]
        indices = indices[~fitted[indices]]
    return indices


def _predicted(
    run: Run,
    role: str,
    fidelity: str,
    potentials: list[Potential],
    store: Store,
    indices: Indices,
) -> HeldOut:
    part = store.select(indices)
    if not potentials[0].has_energies(fidelity):
        part = without_energies(part, fidelity)
    cutoff, dtype = potentials[0].backbone.cutoff, potentials[0].dtype
    tensors = GeometryTensors(part, cutoff, [fidelity], dtype)
    energies, forces, stresses = predict_all(committee_predictor(potentials, fidelity), tensors)
    low = run.config.method.subtracted
    if low is not None:
        energies = energies + part.labels_of(low).energy
        forces = forces + part.labels_of(low).forces
        stresses = stresses + part.labels_of(low).stress
    errors, parity = compare(part, fidelity, energies, forces, stresses)
    return HeldOut(role, fidelity, indices, part, energies, forces, stresses, errors, parity)


def _check_counts(run: Run, held: HeldOut) -> None:
    then, now = run.metrics.get(held.role, {}).get(held.fidelity), held.errors
    kinds = ("n_energies", "n_forces", "n_stress")
    if then is not None and any(then.get(kind) != now.get(kind) for kind in kinds):
        raise ValueError(
            f"the data set {run.config.data.store} has changed since the run in {run.folder.path}: "
            f"{held.fidelity} labels of role {held.role} were {then['n_energies']} energies and "
            f"forces of {then['n_forces']} geometries, and are {now['n_energies']} and "
            f"{now['n_forces']}; give the old one with --data FILE, or train again"
        )
