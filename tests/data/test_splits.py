"""Splits never share a geometry; molecules stay whole; draws are balanced."""

from dataclasses import replace

import numpy as np
import pytest

from idle_md.data import Labels, draw_labels, load, split
from idle_md.data.splits import geometry_ids


@pytest.fixture(scope="module")
def chno_mini():
    return load("chno-mini")


def without_roles(store):
    return replace(store, role=np.full(store.n_geometries, ""))


@pytest.mark.parametrize("by", ["geometry", "group"])
@pytest.mark.parametrize("seed", range(4))
def test_every_geometry_is_in_exactly_one_split(store, by, seed) -> None:
    parts = split(store, validation=0.3, test=0.2, by=by, seed=seed)
    together = np.concatenate(list(parts.values()))
    assert sorted(together) == list(range(store.n_geometries))
    assert all((np.diff(part) > 0).all() for part in parts.values())


@pytest.mark.parametrize("by", ["geometry", "group"])
def test_roles_are_honoured(store, by) -> None:
    parts = split(store, validation=0.3, test=0.2, by=by)
    for role in ("validation", "test", "ood"):
        assert set(np.flatnonzero(store.role == role)) <= set(parts[role])
    assert set(store.role[parts["train"]]) <= {"", "train"}
    assert set(store.role[parts["ood"]]) == {"ood"}


@pytest.mark.parametrize("seed", range(8))
def test_group_split_keeps_molecules_whole(store, seed) -> None:
    store = without_roles(store)
    parts = split(store, validation=0.2, test=0.4, by="group", seed=seed)
    groups = [set(store.group[parts[name]]) for name in ("train", "validation", "test")]
    assert [len(each) for each in groups] == [2, 1, 2]
    assert len(set.union(*groups)) == 5


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_a_geometry_stay_together(store, seed) -> None:
    store = without_roles(store).select(np.tile(np.arange(store.n_geometries), 3))
    parts = split(store, validation=0.3, test=0.3, seed=seed)
    ids = geometry_ids(store)
    owners = [set(ids[part]) for part in parts.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == store.n_geometries // 3


def test_copies_with_different_roles_are_refused(store) -> None:
    copied = store.select([0, 1, 0])
    roles = np.array(["train", "train", "test"])
    with pytest.raises(ValueError, match=r"geometries 0 and 2 are the same, .* train and test"):
        split(replace(copied, role=roles))


def test_sizes_and_seeds(chno_mini) -> None:
    parts = split(chno_mini, validation=0.1)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 16097,
        "validation": 1789,
        "test": 180,
        "ood": 480,
    }
    np.testing.assert_array_equal(parts["train"], split(chno_mini, validation=0.1)["train"])
    other = split(chno_mini, validation=0.1, seed=1)
    assert len(np.setdiff1d(parts["validation"], other["validation"])) > 1500


UNIFORM = {
    "geometry": (
        {"validation": 0.2, "test": 0.15, "seed": 3},
        [2, 11, 17, 20, 23, 30, 32, 33],
        [3, 4, 12, 21, 29, 38],
    ),
    "group": (
        {"validation": 0.25, "test": 0.2, "by": "group", "seed": 1},
        [0, 1, 2, 3, 4, 25, 26, 27, 28, 29],
        [5, 6, 7, 8, 9, 20, 21, 22, 23, 24],
    ),
}
"""Splits of idle_md 0.1.0, which runs that were begun with it go on with."""


@pytest.mark.parametrize("by", UNIFORM)
def test_split_of_a_store_with_equal_labels_is_that_of_old_runs(chno_mini, by) -> None:
    names = np.unique(chno_mini.group)[:8]
    free = chno_mini.role == "train"
    chosen = [np.flatnonzero(free & (chno_mini.group == name))[:5] for name in names]
    low_alone = {"gfn2": chno_mini.labels_of("gfn2")}
    equal = replace(chno_mini, labels=low_alone).select(np.concatenate(chosen))
    options, validation, test = UNIFORM[by]
    parts = split(equal, **options)
    np.testing.assert_array_equal(parts["validation"], validation)
    np.testing.assert_array_equal(parts["test"], test)


def with_rare_labels(store, n_rare: int, seed: int):
    """Geometries without roles; ``n_rare`` of them have a label of a third level, ``rare``."""
    energy = np.full(store.n_geometries, np.nan)
    energy[np.random.default_rng(seed).permutation(store.n_geometries)[:n_rare]] = -1.0
    rare = Labels(energy, np.full((len(store.numbers), 3), np.nan, np.float32))
    return replace(without_roles(store), labels={**store.labels, "rare": rare})


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_rare", [2, 3, 17])
def test_every_level_has_its_share_in_every_split(random_store, n_rare, seed) -> None:
    store = with_rare_labels(random_store(seed, 300), n_rare, seed)
    parts = split(store, validation=0.1, test=0.05, seed=seed)
    sizes = [len(parts[name]) for name in ("validation", "test")]
    assert sizes == pytest.approx([30, 15], abs=1)
    kinds = [(f, has) for f in store.fidelities for has in (store.has_energy, store.has_forces)]
    for name, share in (("validation", 0.1), ("test", 0.05)):
        for fidelity, has in kinds[:-1]:
            labelled = has(fidelity)
            expected = share * labelled.sum()
            found = labelled[parts[name]].sum()
            assert abs(found - expected) < 2, (name, fidelity)
    rare = store.has_energy("rare")
    assert [rare[parts[name]].sum() for name in ("validation", "test")] == {
        2: [1, 0],
        3: [1, 1],
        17: [2, 1],
    }[n_rare]


@pytest.mark.parametrize("seed", range(10))
def test_one_of_two_labelled_molecules_is_validated_on(random_store, seed) -> None:
    store = without_roles(random_store(seed))
    rare = np.isin(store.group, ["urea", "glycine"])
    energy = np.where(rare, -1.0, np.nan)
    labels = Labels(energy, np.full((len(store.numbers), 3), np.nan, np.float32))
    parts = split(replace(store, labels={"rare": labels}), 0.2, by="group", seed=seed)
    assert rare[parts["validation"]].all()
    assert rare[parts["train"]].any()


@pytest.mark.parametrize("seed", range(4))
def test_copies_stay_together_where_one_of_them_has_the_rare_label(random_store, seed) -> None:
    store = without_roles(random_store(seed)).select(np.tile(np.arange(60), 2))
    ids = geometry_ids(store)
    energy = np.where(np.arange(120) < 4, -1.0, np.nan)
    rare = Labels(energy, np.full((len(store.numbers), 3), np.nan, np.float32))
    parts = split(replace(store, labels={**store.labels, "rare": rare}), 0.1, seed=seed)
    assert not np.isin(ids[parts["train"]], ids[parts["validation"]]).any()
    assert np.isfinite(energy[parts["validation"]]).sum() == 1


def test_store_without_labels_is_split(store) -> None:
    parts = split(replace(without_roles(store), labels={}), validation=0.2)
    assert [len(part) for part in parts.values()] == [48, 12, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0.001}, "validation split would be empty: 0.001 of 60 geometries"),
        ({"test": 0.05, "by": "group"}, "test split would be empty: 0.05 of 5 groups"),
        ({"validation": 0.99, "by": "group"}, "train split would be empty: 5 groups"),
        ({"validation": 0.6, "test": 0.5}, "fractions that leave some to train"),
        ({"validation": -0.1}, "fractions that leave some to train"),
    ],
)
def test_empty_splits_are_refused(options, message, store) -> None:
    with pytest.raises(ValueError, match=message):
        split(without_roles(store), **({"validation": 0.2} | options))


def test_nothing_to_train_on_is_refused(store) -> None:
    with pytest.raises(ValueError, match="train split would be empty: 0 geometries"):
        split(replace(store, role=np.full(store.n_geometries, "test")), validation=0)


def test_unknown_role_is_refused(store) -> None:
    store.role[3] = "trian"
    with pytest.raises(ValueError, match="unknown role 'trian': use one of train, validation"):
        split(store)


@pytest.mark.parametrize("n", [1, 36, 50, 144, 500])
def test_draws_are_labelled_and_balanced(n, chno_mini) -> None:
    train = split(chno_mini)["train"]
    drawn = draw_labels(chno_mini, train, "wb97x", n, seed=3)
    assert len(np.unique(drawn)) == n
    assert np.isin(drawn, train).all()
    assert np.isfinite(chno_mini.labels["wb97x"].energy[drawn]).all()
    there = train[chno_mini.has_energy("wb97x")[train]]
    names, available = np.unique(chno_mini.group[there], return_counts=True)
    counts = np.array([np.sum(chno_mini.group[drawn] == name) for name in names])
    assert (counts[counts < available] >= counts.max() - 1).all()


def test_unbalanced_groups_give_what_they_have(store) -> None:
    everything = np.arange(store.n_geometries)
    n_labels = int(store.has_energy("high").sum())
    drawn = draw_labels(store, everything, "high", n_labels)
    np.testing.assert_array_equal(drawn, np.flatnonzero(store.has_energy("high")))
    for n in range(1, n_labels):
        chosen = draw_labels(store, everything, "high", n)
        names = np.unique(store.group[drawn])
        taken = np.array([np.sum(store.group[chosen] == name) for name in names])
        there = np.array([np.sum(store.group[drawn] == name) for name in names])
        assert (taken[taken < there] >= taken.max() - 1).all()


def test_small_draws_are_part_of_larger_ones(chno_mini) -> None:
    train = split(chno_mini)["train"]
    draws = [set(draw_labels(chno_mini, train, "wb97x", n, seed=7)) for n in (36, 72, 144)]
    assert draws[0] < draws[1] < draws[2]
    assert draws[1] != set(draw_labels(chno_mini, train, "wb97x", 72, seed=8))


def test_forces_are_drawn_where_there_are_forces(store) -> None:
    drawn = draw_labels(store, np.arange(store.n_geometries), "high", 3, kind="forces")
    assert store.has_forces("high")[drawn].all()


def test_drawing_more_than_there_is_says_how_many_there_are(chno_mini) -> None:
    train = split(chno_mini, validation=0)["train"]
    message = r"cannot draw 284 ccsdt labels \(energy\): 283 are there"
    with pytest.raises(ValueError, match=message):
        draw_labels(chno_mini, train, "ccsdt", 284)
    with pytest.raises(ValueError, match=r"cannot draw 1 ccsdt labels \(forces\): 0 are there"):
        draw_labels(chno_mini, train, "ccsdt", 1, kind="forces")
    with pytest.raises(ValueError, match="unknown fidelity 'pbe'"):
        draw_labels(chno_mini, train, "pbe", 1)
