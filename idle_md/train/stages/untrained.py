"""Before the first step: reference energies, scales, and which head corrects which."""

import numpy as np
import numpy.typing as npt
import torch

from idle_md.data import GeometryTensors, fit_reference_energies
from idle_md.nn import Potential, make_backbone
from idle_md.train.references import anchor
from idle_md.train.task import Task, elements_of

SMALLEST_SCALE = 1e-3  # eV, for labels that the reference energies explain completely
LENGTH = 0.3  # angstrom, from the forces to the scale of energies where there are forces alone

Energies = npt.NDArray[np.float64]


def untrained_potential(task: Task) -> Potential:
    """Return a potential with reference energies and scales of the training split.

    A fidelity with forces alone has no reference energies: NaN stands in their place, and in that
    of elements without labels.
    """
    config, elements = task.config, task.elements
    torch.manual_seed(config.seed)
    backbone = make_backbone(elements, config.backbone)
    corrections = config.method.corrections(config, task.tensors)
    potential = Potential(backbone, config.fidelities, config.hidden_width, corrections)
    energies = training_energies(task)
    anchor(potential, task)
    for fidelity in sorted(config.fidelities, key=lambda f: f in corrections):
        column = config.fidelities.index(fidelity)
        labels, shift = energies[:, column], np.zeros(len(elements))
        if fidelity in corrections:
            lower = config.fidelities.index(corrections[fidelity])
            if not np.isnan(energies[:, lower]).all():
                labels = labels - energies[:, lower]
                shift = potential.reference_energies[elements, lower].numpy()
        references = potential.reference_energies[elements, column]
        given = (references.numpy() - shift) if fidelity in potential.anchored else None
        scale, fitted = scale_and_references(task, labels, column, given)
        potential.heads.scale[fidelity].fill_(max(scale, SMALLEST_SCALE))
        if given is None:
            potential.reference_energies[elements, column] = torch.from_numpy(shift + fitted)
    for column, fidelity in enumerate(config.fidelities):
        if potential.has_energies(fidelity):
            potential.forget_other_elements(fidelity, elements_of(task, column))
    return potential


def training_energies(task: Task) -> Energies:
    """Return the energies (n, n_fidelities) of the training split; NaN where not labelled."""
    energies: Energies = task.tensors.energies[torch.from_numpy(task.splits["train"])].numpy()
    return energies


def scale_and_references(
    task: Task, labels: Energies, column: int, given: Energies | None = None
) -> tuple[float, Energies]:
    """Return the scale of energies, and the reference energies (n_elements,) that they leave.

    Parameters
    ----------
    task
        Whose training split it is.
    labels
        Energies (n,) of the training split, NaN where not labelled.
    column
        Of the fidelity, whose forces give the scale where there are no energies at all.
    given
        Reference energies that are not to be fitted. What they leave has a mean, which the atoms
        have to make up for.
    """
    counts = task.store.element_counts(task.elements)[task.splits["train"]]
    known = ~np.isnan(labels)
    if not known.any():
        return _scale_of_forces(task.tensors, column), np.full(counts.shape[1], np.nan)
    if given is not None:
        per_atom = (labels - counts @ given)[known] / counts[known].sum(1)
        return float(np.sqrt(np.mean(per_atom**2))), given
    fitted = fit_reference_energies(counts[known], labels[known])
    residual = (labels - counts @ fitted)[known] / np.sqrt(counts[known].sum(1))
    return float(residual.std()), fitted


def _scale_of_forces(tensors: GeometryTensors, column: int) -> float:
    return LENGTH * float(tensors.forces[:, column].square().nanmean().sqrt())
