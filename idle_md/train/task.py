"""From a configuration to what a fit needs: labels, splits, a loss, the order of batches."""

import copy
import gc
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from idle_md.data import GeometryTensors, Store, draw_labels, join, load, merge_copies, split
from idle_md.data.identity.copies import nuclear_ids
from idle_md.data.joining import check_copies
from idle_md.data.states import check_one_spin, check_states, unpaired_of
from idle_md.data.store import KINDS
from idle_md.train.batches import BatchStream, Indices
from idle_md.train.config import Label, TrainConfig
from idle_md.train.loss import Objective, Weights

REPLAYED = "replayed"  # column of a store


@dataclass
class Task:
    """The labels that a model may see, and what is to be made of them.

    ``splits`` are indices into ``store``; ``tensors`` holds only the labels that the configuration
    allows in training and validation, while ``store`` keeps them all for the final evaluation.
    ``elements`` are the atomic numbers of the training split, sorted.
    """

    config: TrainConfig
    store: Store
    tensors: GeometryTensors
    splits: dict[str, Indices]
    elements: list[int]
    objective: Objective
    stream: BatchStream
    label_counts: dict[str, dict[str, dict[str, int]]]


def build_task(config: TrainConfig) -> Task:
    """Load the data and draw the budgets.

    Raises
    ------
    ValueError
        If the data set lacks a fidelity, kind of label, or enough labels for a budget.
    """
    gc.collect()  # the data of the stage before: Lightning's objects refer to each other
    store = load_store(config)
    _check_labels(config, store)
    check_states(store)
    check_one_spin(store)
    nuclei = nuclear_ids(store)
    check_copies(store, config.fidelities, nuclei)
    splits = split(store, **config.data.split.model_dump(), nuclei=nuclei)
    allowed = allowed_labels(config, store, splits)
    tensors = GeometryTensors(store, config.backbone.cutoff, config.fidelities)
    _mask(config, tensors, allowed)
    return Task(
        config=config,
        store=store,
        tensors=tensors,
        splits=splits,
        elements=_elements(store, splits["train"]),
        objective=build_objective(config, tensors),
        stream=_build_stream(config, store, tensors, splits["train"]),
        label_counts=_count_labels(config, tensors, splits),
    )


def elements_of(task: Task, column: int | None = None) -> list[int]:
    """Return the atomic numbers in the training split's labels, of one fidelity or of any."""
    labelled = labelled_geometries(task.tensors)
    columns = slice(None) if column is None else [column]
    shown: npt.NDArray[np.bool_] = np.any(labelled[:, columns], axis=1)
    train = task.splits["train"]
    return _elements(task.store, train[shown[train]])


def states_of(task: Task) -> dict[str, dict[str, dict[int, int]]]:
    """Return how many geometries each fidelity is trained on, by total charge and multiplicity.

    The multiplicity is the one declared, or else the lowest that the number of electrons allows;
    lone atoms have none here.
    """
    labelled, train = labelled_geometries(task.tensors), task.splits["train"]
    counts = task.store.element_counts(task.store.elements)
    electrons = (counts @ np.array(task.store.elements)).astype(np.int64) - task.store.charge
    unpaired = np.maximum(unpaired_of(task.store), electrons % 2)
    found = {}
    for column, fidelity in enumerate(task.config.fidelities):
        shown = train[labelled[train, column]]
        molecules = shown[task.store.n_atoms[shown] > 1]
        states = {
            "charges": task.store.charge[shown],
            "multiplicities": 1 + unpaired[molecules],
        }
        found[fidelity] = {name: _counted(values) for name, values in states.items()}
    return found


def _counted(values: npt.NDArray[np.int64]) -> dict[int, int]:
    different, counts = np.unique(values, return_counts=True)
    return dict(zip(different.tolist(), counts.tolist(), strict=True))


def relabelled(task: Task, config: TrainConfig, energies: Tensor, forces: Tensor) -> Task:
    """Return the same geometries and splits with other labels, of the target alone; no stress.

    Geometries that have a label of the target as it is keep their share of every batch.

    Parameters
    ----------
    task
        Of any fidelities.
    config
        What to train on the new labels, energies and forces.
    energies, forces
        (G,) in eV and (A, 3) in eV/angstrom; NaN where not labelled.
    """
    tensors = copy.copy(task.tensors)
    tensors.fidelities = [config.target]
    tensors.energies, tensors.forces = energies[:, None], forces[:, None].to(task.tensors.forces)
    tensors.stresses = torch.full_like(task.tensors.stresses[:, :1], torch.nan)
    objective = build_objective(config, tensors)
    known = labelled_geometries(task.tensors)[:, -1]
    stream = _build_stream(config, task.store, tensors, task.splits["train"], known)
    return replace(task, config=config, tensors=tensors, objective=objective, stream=stream)


def _elements(store: Store, indices: Indices) -> list[int]:
    present = store.element_counts(store.elements)[indices].any(axis=0)
    found: list[int] = np.asarray(store.elements)[present].tolist()
    return found


def load_store(config: TrainConfig) -> Store:
    """Return the data set of a configuration, with the labels that its method learns.

    What is replayed comes after it, without what it has itself.
    """
    store = config.method.labels(config, load(config.data.store))
    if config.data.replay is None:
        return store
    parts = [
        replace(part, info={**part.info, REPLAYED: np.full(part.n_geometries, is_replayed)})
        for part, is_replayed in ((store, False), (load(config.data.replay), True))
    ]
    return merge_copies(join(parts))


def is_replayed(store: Store) -> npt.NDArray[np.bool_]:
    """Return which geometries (G,) are of the data set that is replayed, if there is one."""
    found: npt.NDArray[np.bool_] = store.info.get(REPLAYED, np.zeros(store.n_geometries, bool))
    return found


def _check_labels(config: TrainConfig, store: Store) -> None:
    for fidelity in config.fidelities:
        for kind in config.labels[fidelity]:
            if not store.has(fidelity, kind).any():
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
            seed = config.data.split.seed
            kind: Label = next((k for k in KINDS if k in config.labels[fidelity]), "energy")
            has = store.has(fidelity, kind)
            labelled = {name: part[has[part]] for name, part in splits.items()}
            for pool, count in _drawn_from(config, labelled, fidelity, budget):
                if count:
                    shown[draw_labels(store, pool, fidelity, count, seed, kind)] = True
        allowed[fidelity] = shown
    return allowed


def _drawn_from(
    config: TrainConfig, splits: dict[str, Indices], fidelity: str, budget: int
) -> list[tuple[Indices, int]]:
    """Return from which geometries how many labels of a budget are drawn.

    ``splits`` are the geometries that have such a label.
    """
    train, validation = splits["train"], splits["validation"]
    there = len(train) + len(validation)
    if budget > there:
        raise ValueError(
            f"data.budgets.{fidelity} is {budget}, but {there} geometries to train and validate on "
            "have such a label: lower it, or remove it to use all"
        )
    if fidelity == config.target and not config.method.validates_target:
        return [(np.union1d(train, validation), budget)]
    wanted = max(round(budget * config.data.budget_validation), int(budget > 1))
    n_validation = max(min(wanted, len(validation)), budget - len(train))
    return [(train, budget - n_validation), (validation, n_validation)]


def _mask(
    config: TrainConfig, tensors: GeometryTensors, allowed: dict[str, npt.NDArray[np.bool_]]
) -> None:
    for column, fidelity in enumerate(config.fidelities):
        hidden = torch.from_numpy(~allowed[fidelity])
        energyless = "energy" not in config.labels[fidelity]
        tensors.energies[hidden | energyless, column] = torch.nan
        if "forces" not in config.labels[fidelity]:
            tensors.forces[:, column] = torch.nan
        else:
            atoms = torch.repeat_interleave(hidden, tensors.offsets.diff())
            tensors.forces[atoms, column] = torch.nan
        stressless = "stress" not in config.labels[fidelity]
        tensors.stresses[hidden | stressless, column] = torch.nan


def build_objective(config: TrainConfig, tensors: GeometryTensors) -> Objective:
    """Return the loss of a configuration."""
    weights, names = {}, config.fidelities
    for column, fidelity in enumerate(names):
        loss, kinds = config.loss_of(fidelity), config.labels[fidelity]
        factor = config.method.weight(config, fidelity)
        weights[column] = Weights(
            factor * loss.energy,
            factor * loss.forces * ("forces" in kinds),
            factor * loss.stress * ("stress" in kinds),
        )
    pairs = config.method.pairs(config, tensors)
    paired = {names.index(high): names.index(low) for high, low in pairs.items()}
    return Objective(weights, paired, config.compile)


def _build_stream(
    config: TrainConfig,
    store: Store,
    tensors: GeometryTensors,
    train: Indices,
    known: npt.NDArray[np.bool_] | None = None,
) -> BatchStream:
    """Return batches of what has labels; of the target, that is what is ``known`` (G,), if any."""
    labelled = labelled_geometries(tensors)[train]
    is_target = labelled[:, -1] & ~is_replayed(store)[train]
    if known is not None and (is_target & known[train]).any():
        is_target &= known[train]
    return BatchStream(
        target=train[is_target],
        others=train[~is_target & labelled.any(1)],
        size=config.batch.size,
        target_share=config.batch.target_share,
        seed=config.seed,
    )


def has_energies(tensors: GeometryTensors) -> Tensor:
    """Return which geometries have an energy of which fidelity (G, n_fidelities)."""
    return ~torch.isnan(tensors.energies)


def has_forces(tensors: GeometryTensors) -> Tensor:
    """Return which geometries have forces of which fidelity (G, n_fidelities)."""
    return ~torch.isnan(tensors.forces[tensors.offsets[:-1], :, 0])


def has_stresses(tensors: GeometryTensors) -> Tensor:
    """Return which geometries have a stress of which fidelity (G, n_fidelities)."""
    return ~torch.isnan(tensors.stresses[:, :, 0])


def labelled_geometries(tensors: GeometryTensors) -> npt.NDArray[np.bool_]:
    """Return which geometries have a label of which fidelity (G, n_fidelities), of any kind."""
    kinds = has_energies(tensors), has_forces(tensors), has_stresses(tensors)
    labelled: npt.NDArray[np.bool_] = torch.stack(kinds).any(0).numpy()
    return labelled


def _count_labels(
    config: TrainConfig, tensors: GeometryTensors, splits: dict[str, Indices]
) -> dict[str, dict[str, dict[str, int]]]:
    has = {"energy": has_energies(tensors), "forces": has_forces(tensors)}
    if "stress" in chain(*(config.labels[fidelity] for fidelity in config.fidelities)):
        has["stress"] = has_stresses(tensors)
    return {
        fidelity: {
            name: {kind: int(each[splits[name], column].sum()) for kind, each in has.items()}
            for name in ("train", "validation")
        }
        for column, fidelity in enumerate(config.fidelities)
    }
