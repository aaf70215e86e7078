import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idle_md.data import Store, load
from idle_md.train import parse_config, train
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import build_task


def test_budget_is_drawn_evenly_and_counts_validation(settings: dict[str, Any]) -> None:
    task = build_task(parse_config(settings))
    counts = task.label_counts["wb97x"]
    assert (counts["train"]["energy"], counts["validation"]["energy"]) == (18, 2)
    assert counts["train"]["forces"] == 0
    shown = ~torch.isnan(task.tensors.energies[:, 1]).numpy()
    groups, drawn = np.unique(task.store.group[shown], return_counts=True)
    assert list(groups) == ["methanol", "methylamine"]
    assert abs(drawn[0] - drawn[1]) <= 1


def test_single_and_idle_see_the_same_target_labels(settings: dict[str, Any]) -> None:
    idle = build_task(parse_config({**settings, "method": "idle"}))
    single = build_task(parse_config({**settings, "method": "single"}))
    np.testing.assert_array_equal(
        idle.tensors.energies[:, 1].numpy(), single.tensors.energies[:, 0].numpy()
    )


def test_test_geometries_show_no_label_of_any_level(settings: dict[str, Any]) -> None:
    task = build_task(parse_config(settings))
    test = torch.from_numpy(np.flatnonzero(task.store.role == "test"))
    assert len(test) == 10
    held_out = np.concatenate([task.splits["validation"], test.numpy()])
    drawn = np.concatenate([task.stream[k] for k in range(60)])
    assert not np.isin(drawn, held_out).any()
    assert torch.isnan(task.tensors.energies[test]).all()
    atoms = np.repeat(task.store.role == "test", task.store.n_atoms)
    assert torch.isnan(task.tensors.forces[torch.from_numpy(atoms)]).all()


def test_reference_energies_come_from_the_training_split(
    settings: dict[str, Any], small_store: Any, tmp_path: Any
) -> None:
    before = build_task(parse_config(settings))
    store = Store.read(small_store)
    held_out = np.setdiff1d(np.arange(store.n_geometries), before.splits["train"])
    for fidelity in store.fidelities:
        store.labels_of(fidelity).energy[held_out] += 100.0
    store.write(tmp_path / "shifted.h5")
    settings["data"]["store"] = str(tmp_path / "shifted.h5")
    after = build_task(parse_config(settings))
    torch.testing.assert_close(
        untrained_potential(after).reference_energies,
        untrained_potential(before).reference_energies,
    )


def test_correction_starts_as_the_low_level_plus_a_shift(settings: dict[str, Any]) -> None:
    task = build_task(parse_config(settings))
    train = task.splits["train"]
    batch = task.tensors.batch(train[~torch.isnan(task.tensors.energies[train, 1]).numpy()])
    potential = untrained_potential(task)
    atomic = potential(batch.species, batch.edge_index, batch.edge_vectors)
    energies = torch.zeros(batch.n_graphs, 2, dtype=torch.float64)
    energies = energies.index_add(0, batch.graph_index, atomic.detach())
    predicted = (energies[:, 1] - energies[:, 0]).numpy()
    labelled = (batch.energies[:, 1] - batch.energies[:, 0]).numpy()
    assert np.abs(labelled).min() > 2000  # the levels' totals are far apart
    assert np.abs(predicted - labelled).max() < 1.0


def test_unknown_fidelity_lists_what_there_is(settings: dict[str, Any]) -> None:
    settings |= {"target": "pbe", "labels": {"pbe": ["energy"]}, "data": settings["data"]}
    settings["data"] = {**settings["data"], "budgets": {}}
    with pytest.raises(ValueError, match=r"pbe.*gfn2.*wb97x"):
        build_task(parse_config(settings))


def test_missing_kind_of_label(settings: dict[str, Any]) -> None:
    settings |= {"target": "ccsdt", "labels": {"ccsdt": ["energy", "forces"]}}
    settings["data"] = {**settings["data"], "budgets": {}}
    with pytest.raises(ValueError, match=r"no forces of 'ccsdt'.*labels\.ccsdt"):
        build_task(parse_config(settings))


def test_budget_larger_than_the_data(settings: dict[str, Any], small_store: Path) -> None:
    store = Store.read(small_store)
    there = np.isin(store.role, ["", "train", "validation"]) & store.has_energy("wb97x")
    settings["data"] = {**settings["data"], "budgets": {"wb97x": 5000}}
    message = rf"data\.budgets\.wb97x is 5000, but {there.sum()} geometries"
    with pytest.raises(ValueError, match=message):
        build_task(parse_config(settings))
    settings["data"]["budgets"] = {"wb97x": int(there.sum())}
    counts = build_task(parse_config(settings)).label_counts["wb97x"]
    assert sum(kinds["energy"] for kinds in counts.values()) == there.sum()


@pytest.fixture
def few_labels(settings: dict[str, Any], small_store: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings with three levels, of which 17 geometries have the target's."""
    store = Store.read(small_store)
    free = np.flatnonzero(np.isin(store.role, ["", "train"]) & store.has_energy("wb97x"))
    kept = np.random.default_rng(0).permutation(free)[:17]
    hidden = np.setdiff1d(np.arange(store.n_geometries), kept)
    labels = store.labels_of("wb97x")
    labels.energy[hidden] = np.nan
    labels.forces[np.isin(np.repeat(np.arange(store.n_geometries), store.n_atoms), hidden)] = np.nan
    store.write(tmp_path / "few.h5")
    data = {"store": str(tmp_path / "few.h5"), "split": {"validation": 0.05}}
    kinds = {"gfn2": ["energy", "forces"], "ccsdt": ["energy"], "wb97x": ["energy"]}
    return {**settings, "labels": kinds, "data": data}


@pytest.mark.parametrize("seed", range(20))
def test_few_labels_of_the_target_are_validated_on(few_labels: dict[str, Any], seed: int) -> None:
    few_labels["data"]["split"]["seed"] = seed
    counts = build_task(parse_config(few_labels)).label_counts["wb97x"]
    assert [counts[name]["energy"] for name in ("train", "validation")] == [16, 1]


@pytest.mark.parametrize(
    ("budget", "share", "drawn"),
    [(17, 0.3, (16, 1)), (12, 0.5, (11, 1)), (4, 0.1, (3, 1)), (1, 0.1, (1, 0))],
)
def test_budget_takes_what_is_there_for_validation(
    few_labels: dict[str, Any], budget: int, share: float, drawn: tuple[int, int]
) -> None:
    few_labels["data"] |= {"budgets": {"wb97x": budget}, "budget_validation": share}
    counts = build_task(parse_config(few_labels)).label_counts["wb97x"]
    assert (counts["train"]["energy"], counts["validation"]["energy"]) == drawn


def test_all_methods_have_the_same_split(few_labels: dict[str, Any]) -> None:
    delta = {"name": "delta", "low_level": "gfn2"}
    tasks = [
        build_task(parse_config({**few_labels, "method": m})) for m in ("idle", "single", delta)
    ]
    for task in tasks[1:]:
        for name, part in tasks[0].splits.items():
            np.testing.assert_array_equal(task.splits[name], part)


def test_low_level_that_is_not_there(settings: dict[str, Any]) -> None:
    settings["method"] = {"name": "idle", "low_level": "pm6"}
    with pytest.raises(ValueError, match=r"method\.low_level is 'pm6'.*gfn2"):
        build_task(parse_config(settings))


def test_data_of_a_stage_are_freed_before_those_of_the_next(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[weakref.ref[Store]] = []

    def load_alone(source: str) -> Store:
        assert all(store() is None for store in stores)
        loaded = load(source)
        stores.append(weakref.ref(loaded))
        return loaded

    monkeypatch.setattr("idle_md.train.task.load", load_alone)
    budget = {"steps": 2, "validate_every": 1}
    finetune = {"budget": budget}
    settings |= {"method": {"name": "transfer", "source": "gfn2", "finetune": finetune}}
    train(parse_config(settings | {"budget": budget}))
    assert len(stores) == 2
