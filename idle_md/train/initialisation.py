"""Before the first step: reference energies, scales, and which head corrects which."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from idle_md.data import GeometryTensors, Store, fit_reference_energies
from idle_md.nn import BACKBONES, Potential
from idle_md.train.batches import Indices
from idle_md.train.config import TrainConfig
from idle_md.train.method import IdleConfig

SMALLEST_SCALE = 1e-3  # eV, for labels that the reference energies explain completely
LENGTH = 0.3  # angstrom, from the forces to the scale of energies where there are forces alone


def build_potential(
    config: TrainConfig, store: Store, train: Indices, tensors: GeometryTensors
) -> Potential:
    """Return an untrained potential with reference energies and scales of the training split.

    A fidelity with forces alone has no reference energies: NaN stands in their place.
    """
    present = store.element_counts(store.elements)[train].any(axis=0)
    elements = np.asarray(store.elements)[present].tolist()
    settings = config.backbone.model_dump(exclude={"name"})
    backbone = BACKBONES[config.backbone.name](elements, **settings)
    base = low_level(config, tensors)
    corrections = {}
    if base is not None and isinstance(config.method, IdleConfig):
        corrections = {config.target: base} if config.method.head == "correction" else {}
    potential = Potential(backbone, config.fidelities, config.hidden_width, corrections)
    counts = store.element_counts(elements)[train]
    energies = tensors.energies[torch.from_numpy(train)].numpy()
    for fidelity in sorted(config.fidelities, key=lambda f: f in corrections):
        column = config.fidelities.index(fidelity)
        labels, shift = energies[:, column], np.zeros(len(elements))
        if fidelity in corrections:
            lower = config.fidelities.index(corrections[fidelity])
            if not np.isnan(energies[:, lower]).all():
                labels = labels - energies[:, lower]
                shift = potential.reference_energies[elements, lower].numpy()
        scale, fitted = _scale_and_references(labels, counts, tensors, column)
        potential.heads.scale[fidelity].fill_(max(scale, SMALLEST_SCALE))
        potential.reference_energies[elements, column] = torch.from_numpy(shift + fitted)
    return potential


def _scale_and_references(
    labels: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    tensors: GeometryTensors,
    column: int,
) -> tuple[float, npt.NDArray[np.float64]]:
    known = ~np.isnan(labels)
    if not known.any():
        rms = float(tensors.forces[:, column].square().nanmean().sqrt())
        return LENGTH * rms, np.full(counts.shape[1], np.nan)
    fitted = fit_reference_energies(counts[known], labels[known])
    residual = (labels - counts @ fitted)[known] / np.sqrt(counts[known].sum(1))
    return float(residual.std()), fitted


def low_level(config: TrainConfig, tensors: GeometryTensors) -> str | None:
    """Return the fidelity that the target is learned as a difference to, if there is one.

    Raises
    ------
    ValueError
        If the configuration names one that is not trained, or a correction head has no geometry
        that is labelled at both levels.
    """
    method, names = config.method, config.fidelities
    if not isinstance(method, IdleConfig) or len(names) == 1:
        return None
    n_energies, n_forces = has_energies(tensors).sum(0), has_forces(tensors).sum(0)
    counts = {f: (int(n_energies[k]), int(n_forces[k])) for k, f in enumerate(names[:-1])}
    base = method.low_level or max(counts, key=lambda f: counts[f])
    if base not in counts:
        raise ValueError(
            f"method.low_level is {base!r}: the fidelities below {config.target!r} are "
            + ", ".join(names[:-1])
        )
    both = has_energies(tensors)[:, [names.index(base), -1]].all(1)
    if method.head == "correction" and counts[base][0] and not bool(both.any()):
        raise ValueError(
            f"no geometry has both a {base!r} and a {config.target!r} energy, which a correction "
            "head needs: set method.head=independent"
        )
    return base


def has_energies(tensors: GeometryTensors) -> Tensor:
    """Return which geometries have an energy of which fidelity (G, n_fidelities)."""
    return ~torch.isnan(tensors.energies)


def has_forces(tensors: GeometryTensors) -> Tensor:
    """Return which geometries have forces of which fidelity (G, n_fidelities)."""
    return ~torch.isnan(tensors.forces[tensors.offsets[:-1], :, 0])
