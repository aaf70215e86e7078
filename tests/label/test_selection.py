import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from idle_md.data import Store
from idle_md.label.descriptor import Seen, farthest, sorted_distances
from idle_md.label.selection import choose

NUMBERS = np.array([8, 1, 1, 6, 1])


@pytest.fixture
def positions() -> np.ndarray:
    return 2.0 * np.random.default_rng(0).standard_normal((5, 3))


def test_descriptor_is_invariant(positions) -> None:
    expected = sorted_distances(NUMBERS, positions)
    moved = Rotation.random(rng=1).apply(positions) + 1.5
    order = np.array([3, 4, 0, 2, 1])
    np.testing.assert_allclose(sorted_distances(NUMBERS[order], moved[order]), expected)
    np.testing.assert_allclose(sorted_distances(NUMBERS, -positions), expected)


def test_distance_of_descriptors_is_a_root_mean_square_in_angstrom() -> None:
    first = sorted_distances(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 1.0]]))
    second = sorted_distances(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 1.3]]))
    assert np.linalg.norm(first - second) == pytest.approx(0.3)


def test_duplicates_are_seen(positions) -> None:
    seen = Seen(0.02)
    assert seen.is_new(NUMBERS, positions)
    assert not seen.is_new(NUMBERS, positions + 1.0)
    assert seen.is_new(NUMBERS, 1.1 * positions)
    assert seen.is_new(np.array([8, 1, 1, 6, 8]), positions)


def test_farthest_points() -> None:
    points = [np.array([x]) for x in (0.0, 1.0, 2.0, 10.0, 10.1)]
    assert farthest(points, 2, []) == [4, 0]
    assert farthest(points, 2, [np.array([10.0])])[0] == 0
    assert sorted(farthest(points, 9, [])) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("how", ["random", "diverse"])
def test_groups_are_served_in_turn(make_store, how) -> None:
    store = Store.read(make_store(30, molecules=("H2O", "H2O", "CH4")))
    candidates = np.arange(30)
    chosen = choose(store, candidates, 8, how, 0, np.empty(0, np.int64))
    assert sorted((store.group[chosen] == name).sum() for name in ("H2O", "CH4")) == [4, 4]
    known = chosen[store.group[chosen] == "CH4"]
    rest = np.setdiff1d(candidates, known)
    more = choose(store, rest, 4, how, 0, known)
    assert (store.group[more] == "H2O").all()
    np.testing.assert_array_equal(chosen, choose(store, candidates, 8, how, 0, known[:0]))


def test_diverse_is_more_diverse_than_random(make_store) -> None:
    store = Store.read(make_store(60, molecules=("CH4",)))
    nearest = {}
    for how in ("random", "diverse"):
        chosen = choose(store, np.arange(60), 8, how, 0, np.empty(0, np.int64))
        points = [
            sorted_distances(store.atoms(k).numbers, store.atoms(k).positions) for k in chosen
        ]
        apart = np.linalg.norm(np.array(points)[:, None] - points, axis=2)
        nearest[how] = np.sort(apart, axis=1)[:, 1].mean()
    assert nearest["diverse"] > 1.3 * nearest["random"]


def test_highest_scores_are_chosen(make_store) -> None:
    store = Store.read(make_store(40, molecules=("H2O",)))
    stretched = store.positions.reshape(40, 3, 3).std(axis=(1, 2))
    chosen = choose(store, np.arange(40), 4, lambda _: stretched, 0, np.empty(0, np.int64))
    assert len(chosen) == 4
    assert (np.argsort(np.argsort(-stretched))[chosen] < 12).all()
