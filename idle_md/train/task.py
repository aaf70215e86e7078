"""From a configuration to what a fit needs: labels, splits, reference energies, a model."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from idle_md.data import (
    GeometryTensors,
    Store,
    draw_labels,
    fit_reference_energies,
    load,
    split,
)
from idle_md.nn import BACKBONES, Potential
from idle_md.train.config import TrainConfig
from idle_md.train.delta import explicit_difference
from idle_md.train.method import DeltaConfig, IdleConfig
from idle_md.train.objective import Objective
from idle_md.train.sampling import BatchStream, Indices

SMALLEST_SCALE = 1e-3  # eV, for labels that the reference energies explain completely


@dataclass
class Task:
    """A model and the labels it may see.

    ``splits`` are indices into ``store``; ``tensors`` holds only the labels that the configuration
    allows in training and validation, while ``store`` keeps them all for the final evaluation.
    ``rates`` are factors on the learning rate by parameter group, 1 where not named.
    """

    config: TrainConfig
    store: Store
    tensors: GeometryTensors
    splits: dict[str, Indices]
    potential: Potential
    objective: Objective
    stream: BatchStream
    label_counts: dict[str, dict[str, dict[str, int]]]
    rates: dict[str, float] = field(default_factory=dict)


def build_task(config: TrainConfig) -> Task:
    """Load the data, draw the budgets, fit reference energies and initialise the model.

    Raises
    ------
    ValueError
        If the data set lacks a fidelity, kind of label, or enough labels for a budget.
    """
    store = load_store(config)
    _check_labels(config, store)
    splits = split(store, **config.data.split.model_dump())
    allowed = allowed_labels(config, store, splits)
    tensors = GeometryTensors(store, config.backbone.cutoff, config.fidelities)
    _mask(config, tensors, allowed)
    torch.manual_seed(config.seed)
    potential = build_potential(config, store, splits["train"], tensors)
    return Task(
        config=config,
        store=store,
        tensors=tensors,
        splits=splits,
        potential=potential,
        objective=build_objective(config, potential),
        stream=_build_stream(config, tensors, splits["train"]),
        label_counts=_count_labels(config, tensors, splits),
    )


def load_store(config: TrainConfig) -> Store:
    """Return the data set of a configuration, with the labels that its method learns."""
    store = load(config.data.store)
    if isinstance(config.method, DeltaConfig):
        store = explicit_difference(store, config.target, config.method.low_level)
    return store


def _check_labels(config: TrainConfig, store: Store) -> None:
    for fidelity in config.fidelities:
        has = {"energy": store.has_energy(fidelity), "forces": store.has_forces(fidelity)}
        for kind in config.labels[fidelity]:
            if not has[kind].any():
                raise ValueError(
                    f"{config.data.store} has no {kind} of {fidelity!r}: "
                    f"remove `{kind}` from labels.{fidelity} or add the labels"
                )


def allowed_labels(
    config: TrainConfig, store: Store, splits: dict[str, Indices]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which geometries (G,) may show their label, by fidelity, budgets applied."""
    allowed = {}
    for fidelity in config.fidelities:
        shown = np.zeros(store.n_geometries, dtype=bool)
        budget = config.data.budgets.get(fidelity)
        if budget is None:
            shown[splits["train"]] = shown[splits["validation"]] = True
        else:
            n_validation = round(budget * config.data.budget_validation)
            counts = {"train": budget - n_validation, "validation": n_validation}
            seed = config.data.split.seed
            for name, count in counts.items():
                shown[draw_labels(store, splits[name], fidelity, count, seed)] = True
        allowed[fidelity] = shown
    return allowed


def _mask(
    config: TrainConfig, tensors: GeometryTensors, allowed: dict[str, npt.NDArray[np.bool_]]
) -> None:
    for column, fidelity in enumerate(config.fidelities):
        hidden = torch.from_numpy(~allowed[fidelity])
        tensors.energies[hidden, column] = torch.nan
        if "forces" not in config.labels[fidelity]:
            tensors.forces[:, column] = torch.nan
        else:
            atoms = torch.repeat_interleave(hidden, tensors.offsets.diff())
            tensors.forces[atoms, column] = torch.nan


def build_potential(
    config: TrainConfig, store: Store, train: Indices, tensors: GeometryTensors
) -> Potential:
    """Return an untrained potential with reference energies and scales of the training split."""
    elements = sorted({int(z) for z in np.unique(store.select(train).numbers)})
    settings = config.backbone.model_dump(exclude={"name"})
    backbone = BACKBONES[config.backbone.name](elements, **settings)
    energies = tensors.energies[torch.from_numpy(train)].numpy()
    counts = store.element_counts(elements)[train]
    corrections = _corrections(config, energies)
    potential = Potential(backbone, config.fidelities, config.hidden_width, corrections)
    root_n = np.sqrt(counts.sum(1))
    references: dict[str, npt.NDArray[np.float64]] = {}
    for fidelity in sorted(config.fidelities, key=lambda f: f in corrections):
        column = config.fidelities.index(fidelity)
        labels, base = energies[:, column], corrections.get(fidelity)
        shift = np.zeros(len(elements))
        if base is not None:
            labels = labels - energies[:, config.fidelities.index(base)]
            shift = references[base]
        known = ~np.isnan(labels)
        fitted = fit_reference_energies(counts[known], labels[known])
        references[fidelity] = shift + fitted
        residual = (labels - counts @ fitted)[known] / root_n[known]
        potential.heads.scale[fidelity].fill_(max(float(residual.std()), SMALLEST_SCALE))
        potential.reference_energies[elements, column] = torch.from_numpy(references[fidelity])
    return potential


def _corrections(config: TrainConfig, energies: npt.NDArray[np.float64]) -> dict[str, str]:
    method, names = config.method, config.fidelities
    if not isinstance(method, IdleConfig) or method.head != "correction" or len(names) == 1:
        return {}
    n_labels = dict(zip(names, (~np.isnan(energies)).sum(0), strict=True))
    low_level = method.low_level or max(names[:-1], key=lambda f: int(n_labels[f]))
    if low_level not in names[:-1]:
        raise ValueError(
            f"method.low_level is {low_level!r}: the fidelities below {config.target!r} are "
            + ", ".join(names[:-1])
        )
    paired = ~np.isnan(energies[:, [names.index(low_level), names.index(config.target)]]).any(1)
    if not paired.any():
        raise ValueError(
            f"no training geometry has both a {low_level!r} and a {config.target!r} energy, which "
            "a correction head needs: set method.head=independent"
        )
    return {config.target: low_level}


def build_objective(config: TrainConfig, potential: Potential) -> Objective:
    """Return the loss of a configuration."""
    weights, paired = {}, {}
    for column, fidelity in enumerate(config.fidelities):
        loss = config.loss_of(fidelity)
        forces = loss.forces if "forces" in config.labels[fidelity] else 0.0
        weights[column] = (loss.energy, forces)
    if isinstance(config.method, IdleConfig) and config.method.paired:
        for fidelity, base in potential.heads.correction_on.items():
            paired[potential.column(fidelity)] = potential.column(base)
    return Objective(weights, paired)


def _build_stream(config: TrainConfig, tensors: GeometryTensors, train: Indices) -> BatchStream:
    labelled = ~torch.isnan(tensors.energies[torch.from_numpy(train)]).numpy()
    is_target = labelled[:, -1]
    return BatchStream(
        target=train[is_target],
        others=train[~is_target & labelled.any(1)],
        size=config.batch.size,
        target_share=config.batch.target_share,
        seed=config.seed,
    )


def _count_labels(
    config: TrainConfig, tensors: GeometryTensors, splits: dict[str, Indices]
) -> dict[str, dict[str, dict[str, int]]]:
    energy = ~torch.isnan(tensors.energies)
    forces = ~torch.isnan(tensors.forces[tensors.offsets[:-1], :, 0])
    return {
        fidelity: {
            name: {
                "energy": int(energy[splits[name], column].sum()),
                "forces": int(forces[splits[name], column].sum()),
            }
            for name in ("train", "validation")
        }
        for column, fidelity in enumerate(config.fidelities)
    }
