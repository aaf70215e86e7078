"""The native neighbour list against brute force and vesin, and on malformed input."""

from itertools import product

import numpy as np
import pytest
import torch

from idle_md.neighbors import neighbor_list

pytestmark = pytest.mark.usefixtures("ops")

CUTOFF = 4.0
PERIODICITIES = list(product([False, True], repeat=3))
ONE_OF_A_KIND = [(True, True, True), (True, False, True), (False, True, False), (False,) * 3]


def native(positions, cell, pbc, cutoff=CUTOFF):
    return torch.ops.idle_md.neighbor_list(
        torch.as_tensor(positions), torch.as_tensor(cell), list(pbc), cutoff
    )


def brute_force(positions, cell, pbc, cutoff=CUTOFF):
    """All pairs in all images that the cutoff can reach, as (i, j, image) in order, and vectors."""
    rows = cell[pbc]
    inverse = np.linalg.pinv(rows)
    spread = np.ptp(positions @ inverse, axis=0) if len(positions) else np.zeros(len(rows))
    reach = np.ceil(cutoff * np.linalg.norm(inverse, axis=0) + spread).astype(int)
    periodic = np.array(list(product(*(range(-n, n + 1) for n in reach))))
    images = np.zeros((len(periodic), 3), dtype=int)
    images[:, pbc] = periodic
    between = positions[None, :, None] - positions[:, None, None]
    vectors = between + periodic @ rows  # (N, N, images, 3)
    near = np.linalg.norm(vectors, axis=-1) < cutoff
    near[:, :, ~images.any(1)] &= ~np.eye(len(positions), dtype=bool)[:, :, None]
    i, j, image = np.nonzero(near)
    return np.column_stack([i, j, images[image]]), vectors[near]


def random_system(seed):
    """Few atoms in a box of 1 to 9 angstrom that may be skewed, mirrored, open; unwrapped."""
    rng = np.random.default_rng(seed)
    pbc = np.array(PERIODICITIES[seed % 8])
    size = rng.choice([1.0, 2.0, 4.0, 9.0])
    n_atoms = rng.integers(0, {1.0: 4, 2.0: 5, 4.0: 8, 9.0: 30}[size])
    cell = np.diag(size * rng.uniform(1.0, 1.5, 3)) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    cell[1] += rng.uniform(-2, 2) * cell[0]
    cell[2] += rng.uniform(-2, 2) * cell[1]
    cell = cell[rng.permutation(3)] * rng.choice([-1, 1])
    positions = rng.uniform(-0.5, 1.5, (n_atoms, 3)) @ cell
    if size > 2.0:
        positions += (rng.integers(-3, 4, (n_atoms, 3)) * pbc) @ cell
    cell[~pbc] = rng.choice([0.0, np.nan, 7.0])
    return positions, cell, pbc


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_random_boxes_equal_brute_force(first) -> None:
    for seed in range(first, first + 100):
        positions, cell, pbc = random_system(seed)
        edges, expected = brute_force(positions, cell, pbc)
        edge_index, vectors = native(positions, cell, pbc)
        assert np.array_equal(edge_index, edges[:, :2].T), seed
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-12, err_msg=str(seed))


BOXES = {
    "cube": np.diag([24.0, 24.0, 24.0]),
    "needle": np.diag([9.0, 8.0, 190.0]),
    "skewed": np.array([[24.0, 0, 0], [60.0, 24.0, 0], [-30.0, 50.0, 24.0]]),
    "mirrored": np.array([[0, 24.0, 0], [24.0, 0, 3.0], [5.0, 0, 24.0]]),
}


@pytest.mark.parametrize("pbc", ONE_OF_A_KIND)
@pytest.mark.parametrize("box", BOXES)
def test_large_boxes_equal_vesin(box, pbc) -> None:
    rng = np.random.default_rng(0)
    cell = BOXES[box]
    positions = rng.uniform(-0.2, 1.2, (1400, 3)) @ cell
    edge_index, shifts = neighbor_list(positions, CUTOFF, cell, pbc)
    images = np.rint(shifts @ np.linalg.inv(cell)).astype(int)
    order = np.lexsort((*images.T[::-1], edge_index[1], edge_index[0]))
    vectors = positions[edge_index[1]] - positions[edge_index[0]] + shifts
    found, found_vectors = native(positions, cell, pbc)
    assert np.array_equal(found, edge_index[:, order])
    np.testing.assert_allclose(found_vectors, vectors[order], rtol=0, atol=1e-12)


def test_sparse_systems_cost_no_more_than_dense_ones() -> None:
    """A bin for every cutoff of the volume would not fit any memory."""
    rng = np.random.default_rng(0)
    centers = rng.uniform(-2e7, 2e7, (20000, 3))
    positions = np.concatenate([centers, centers + 1.0])
    edge_index, vectors = native(positions, np.zeros((3, 3)), [False] * 3)
    partners = np.roll(np.arange(40000), 20000)
    assert np.array_equal(edge_index, [np.arange(40000), partners])
    np.testing.assert_allclose(vectors.abs(), 1.0, atol=1e-8)


def test_neighbours_at_the_cutoff_are_mutual() -> None:
    """In a crystal whole shells lie at the cutoff to rounding: both directions are in, or none."""
    a = 3.9
    cell = a * 4 * np.eye(3)
    positions = a * np.array(list(product(range(4), repeat=3))) + 0.1
    (i, j), vectors = (t.numpy() for t in native(positions, cell, [True] * 3, a * np.sqrt(2)))
    steps = np.rint(vectors / a).astype(int)
    assert len(i) >= 64 * 6
    forward = {(*edge,) for edge in np.column_stack([i, j, steps]).tolist()}
    assert forward == {(*edge,) for edge in np.column_stack([j, i, -steps]).tolist()}


def test_any_strides_are_accepted() -> None:
    positions, cell = 9.0 * torch.rand(9, 3, dtype=torch.float64), CELL + 0.5 * GOOD[:3]
    strided = [tensor.t().contiguous().t() for tensor in (positions, cell)]
    expected = native(positions, cell, [True] * 3)
    assert all(map(torch.equal, native(*strided, [True] * 3), expected))


GOOD = torch.as_tensor(np.random.default_rng(0).random((4, 3)))
CELL = 5.0 * torch.eye(3, dtype=torch.float64)
NAN = GOOD.clone()
NAN[2, 1] = torch.nan
PERIODIC = [True] * 3


@pytest.mark.parametrize(
    ("positions", "cell", "pbc", "message"),
    [
        (GOOD.float(), CELL, PERIODIC, "positions must be float64"),
        (GOOD.long(), CELL, PERIODIC, "positions must be float64"),
        (GOOD, CELL.float(), PERIODIC, "cell must be float64"),
        (GOOD[:, :2], CELL, PERIODIC, r"positions have shape \[4, 2\]"),
        (GOOD[0], CELL, PERIODIC, r"positions have shape \[3\]"),
        (GOOD, CELL[:2], PERIODIC, r"cell has shape \[2, 3\]"),
        (GOOD, CELL.reshape(9), PERIODIC, r"cell has shape \[9\]"),
        (GOOD, CELL, [True], "pbc has 1 values"),
        (GOOD, CELL, [True] * 4, "pbc has 4 values"),
        (GOOD.to("meta"), CELL, PERIODIC, "on the CPU: it is Strided on meta"),
        (GOOD.to_sparse(), CELL, PERIODIC, "on the CPU: it is Sparse on cpu"),
        (NAN, CELL, PERIODIC, r"position of atom 2 is \[.*nan.*\]: it must be a number"),
        (GOOD / 0, CELL, [False] * 3, r"position of atom 0 is \[inf, inf, inf\]"),
        (GOOD * 1e300, CELL, [False] * 3, "flown apart"),
        (GOOD * 1e9, CELL, PERIODIC, "flown apart"),
        (GOOD, torch.zeros_like(CELL), PERIODIC, "spans no volume .* give lattice vectors"),
        (GOOD, torch.ones_like(CELL), PERIODIC, "spans no volume"),
        (GOOD, torch.ones_like(CELL), [True, False, True], "True, False, True"),
        (GOOD, CELL / 0, PERIODIC, "spans no volume"),
        (GOOD, CELL * torch.nan, PERIODIC, "spans no volume"),
        (GOOD, CELL * 1e200, PERIODIC, "spans no volume"),
        (GOOD, CELL * 1e-3, PERIODIC, "cell is far smaller than the cutoff"),
        (GOOD, CELL * 1e-100, PERIODIC, "cell is far smaller than the cutoff"),
        (GOOD, CELL * 0.024, PERIODIC, "too many atoms and images around atom"),
        (GOOD.repeat(6000, 1), CELL, [False] * 3, "too many atoms and images around atom"),
    ],
)
def test_malformed_systems_are_refused(positions, cell, pbc, message) -> None:
    neighbors = torch.classes.idle_md.NeighborList(CUTOFF, 1.0)
    with pytest.raises((ValueError, RuntimeError), match=message):
        torch.ops.idle_md.neighbor_list(positions, cell, pbc, CUTOFF)
    expected = neighbors.compute(GOOD, CELL, PERIODIC, torch.float64)
    with pytest.raises((ValueError, RuntimeError), match=message):
        neighbors.compute(positions, cell, pbc, torch.float64)
    assert all(map(torch.equal, neighbors.compute(GOOD, CELL, PERIODIC, torch.float64), expected))
    assert neighbors.rebuilds() == 1


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_impossible_cutoffs_are_refused(cutoff) -> None:
    with pytest.raises(ValueError, match="cutoff must be positive and finite"):
        torch.ops.idle_md.neighbor_list(GOOD, CELL, PERIODIC, cutoff)
    if not 0 < cutoff < float("inf"):
        with pytest.raises(ValueError, match="cutoff must be positive and finite"):
            torch.classes.idle_md.NeighborList(cutoff, 1.0)


@pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf")])
def test_impossible_skins_are_refused(skin) -> None:
    with pytest.raises(ValueError, match="skin must be zero or positive and finite"):
        torch.classes.idle_md.NeighborList(CUTOFF, skin)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, 99, -1])
def test_other_precisions_are_refused(dtype) -> None:
    with pytest.raises(ValueError, match=r"torch\.float32 or torch\.float64"):
        torch.classes.idle_md.NeighborList(CUTOFF, 1.0).compute(GOOD, CELL, PERIODIC, dtype)
