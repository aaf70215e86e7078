"""Neighbour lists and sums of forces on the host, as a GPU makes them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from idle_md.edge_contract import edge_forces
from idle_md.neighbors import neighbor_list
from tests.plugins.cuda.emulated import Emulated, EmulatedList
from tests.plugins.systems import apart

CUTOFF, SKIN = 4.0, 0.5


def box_of(rng, side: float) -> np.ndarray:
    return np.diag([side, 1.2 * side, 0.9 * side]) + np.tril(rng.uniform(-0.3, 0.3, (3, 3)), -1)


def check(index: Tensor, vectors: Tensor, positions, box, periodic) -> None:
    """Real edges are those of a search; the rest is longer than any cutoff."""
    reach = CUTOFF + SKIN
    taken = vectors.norm(dim=1) < reach
    pairs, shifts = neighbor_list(positions, reach, box, periodic)
    expected = positions[pairs[1]] - positions[pairs[0]] + shifts
    found = index[:, taken].numpy(), vectors[taken].numpy()
    assert found[0].shape == pairs.shape
    order, other = (np.lexsort((*v.round(6).T, *p[::-1])) for p, v in (found, (pairs, expected)))
    assert np.array_equal(found[0][:, order], pairs[:, other])
    assert np.abs(found[1][order] - expected[other]).max(initial=0.0) <= 1e-12 * max(
        1.0, np.abs(positions).max(initial=0.0)
    )
    assert bool((index[0].diff() >= 0).all())


def sorted_pairs(pairs: np.ndarray) -> np.ndarray:
    return pairs[:, np.lexsort(pairs[::-1])]


@pytest.mark.parametrize("n", [1, 31, 33, 127, 129])
@pytest.mark.parametrize("periodic", ["open", "periodic", "slab", "wire"])
def test_edges_are_those_of_a_search(emulated: Emulated, n: int, periodic: str) -> None:
    rng = np.random.default_rng(n)
    box = box_of(rng, max(2.5, (12.0 * n) ** (1 / 3)))
    flags = {
        "open": [False] * 3,
        "periodic": [True] * 3,
        "slab": [True, True, False],
        "wire": [False, True, False],
    }[periodic]
    positions = apart(rng, n, box) + (rng.integers(-2, 3, (n, 3)) * flags) @ box
    kept = EmulatedList(emulated, n, flags, CUTOFF, SKIN)
    tensors = torch.from_numpy(positions), torch.from_numpy(box) if any(flags) else None
    index, vectors = kept.edges(*tensors, seed=1)
    check(index, vectors, positions, box, flags)
    again = EmulatedList(emulated, n, flags, CUTOFF, SKIN).edges(*tensors, seed=2)
    assert torch.equal(index, again[0])
    assert torch.equal(vectors, again[1])


def test_sparse_gas_has_wide_bins(emulated: Emulated) -> None:
    rng = np.random.default_rng(0)
    positions = rng.uniform(-500.0, 500.0, (129, 3))
    positions[64:] = positions[:65] + rng.uniform(-2.0, 2.0, (65, 3))
    kept = EmulatedList(emulated, 129, [False] * 3, CUTOFF, SKIN)
    check(*kept.edges(torch.from_numpy(positions)), positions, None, False)


def test_list_is_searched_anew_where_it_must(emulated: Emulated) -> None:
    rng = np.random.default_rng(3)
    box = box_of(rng, 9.0)
    positions = apart(rng, 40, box)
    kept = EmulatedList(emulated, 40, [True] * 3, CUTOFF, SKIN)

    def searches_after(points, cell=box) -> int:
        index, vectors = kept.edges(torch.from_numpy(points), torch.from_numpy(cell))
        near = vectors.norm(dim=1) < CUTOFF
        pairs, _ = neighbor_list(points, CUTOFF, cell, True)
        assert np.array_equal(sorted_pairs(index[:, near].numpy()), sorted_pairs(pairs))
        return kept.searches

    assert searches_after(positions) == 1
    assert searches_after(positions) == 1
    moved = positions.copy()
    moved[7, 1] += 0.24
    assert searches_after(moved) == 1
    moved[7, 1] += 0.02
    assert searches_after(moved) == 2
    moved[3] += box[0]  # an engine that wraps atoms into the box
    assert searches_after(moved) == 3
    assert searches_after(moved * 1.001, box * 1.001) == 4
    assert searches_after(moved * 1.001, box * 1.001) == 4


@pytest.mark.parametrize(
    ("what", "problem"), [("crowded", 4), ("number", 2), ("far", 2), ("flat", 1)]
)
def test_problems_are_named_and_no_numbers_until_they_end(
    emulated: Emulated, what: str, problem: int
) -> None:
    rng = np.random.default_rng(5)
    box = box_of(rng, 9.0)
    good = apart(rng, 40, box)
    bad, cell = good.copy(), box.copy()
    if what == "crowded":
        cell = box / 4.0
        bad /= 4.0
    elif what == "number":
        bad[3, 2] = np.nan
    elif what == "far":
        bad[3, 2] = 1e12
    else:
        cell[2] = cell[1]
    kept = EmulatedList(emulated, 40, [True] * 3, CUTOFF, SKIN)
    for _ in range(2):
        _, vectors = kept.edges(torch.from_numpy(bad), torch.from_numpy(cell))
        assert bool(vectors.isnan().all())
        assert kept.problem == problem
    check(*kept.edges(torch.from_numpy(good), torch.from_numpy(box)), good, box, True)
    assert kept.problem == 0


def test_room_can_be_made(emulated: Emulated) -> None:
    rng = np.random.default_rng(5)
    box = box_of(rng, 9.0)
    positions, cell = 0.6 * apart(rng, 40, box), 0.6 * box  # 0.23 atoms per cubic angstrom
    tensors = torch.from_numpy(positions), torch.from_numpy(cell)
    kept = EmulatedList(emulated, 40, [True] * 3, CUTOFF, SKIN)
    kept.edges(*tensors)
    assert kept.problem == 4
    roomy = EmulatedList(emulated, 40, [True] * 3, CUTOFF, SKIN, 2 * 0.2)
    check(*roomy.edges(*tensors), positions, cell, True)
    assert roomy.problem == 0


def test_engines_units_and_precision(emulated: Emulated) -> None:
    rng = np.random.default_rng(6)
    box = box_of(rng, 9.0)
    positions = apart(rng, 33, box)
    nm = torch.from_numpy(positions / 10.0).float()
    kept = EmulatedList(emulated, 33, [True] * 3, CUTOFF, SKIN)
    index, vectors = kept.edges(nm, torch.from_numpy(box / 10.0).float(), torch.float32, 10.0)
    assert vectors.dtype == torch.float32
    near = vectors.norm(dim=1) < CUTOFF - 1e-4
    pairs, _ = neighbor_list(positions, CUTOFF - 1e-4, box, True)
    assert np.array_equal(sorted_pairs(index[:, near].numpy()), sorted_pairs(pairs))


@pytest.mark.parametrize("n", [0, 1, 2, 33])
def test_all_pairs(emulated: Emulated, n: int) -> None:
    points = torch.randn(n + 3, 3)
    chosen = torch.arange(n) + 2
    vectors = emulated.all_pairs(points, chosen, torch.float64, 10.0)
    pairs = (~torch.eye(n, dtype=torch.bool)).nonzero().t()
    own = points.double()[chosen] * 10.0
    assert torch.equal(vectors, own[pairs[1]] - own[pairs[0]])


@pytest.mark.parametrize("n", [0, 1, 31, 33, 127, 129])
@pytest.mark.parametrize(
    "precisions", [(torch.float64, torch.float64), (torch.float32, torch.float32)]
)
def test_forces_of_edges_in_any_order(emulated: Emulated, n: int, precisions) -> None:
    torch.manual_seed(n)
    inner, outer = precisions
    index = torch.randint(0, max(n, 1), (2, 9 * n))
    gradients = torch.randn(9 * n, 3, dtype=torch.float64).to(inner)
    energies = torch.randn(n, dtype=torch.float64)
    chosen = torch.randperm(n + 5)[:n]
    energy, forces = emulated.forces(
        gradients, index, energies, chosen, n + 5, n, (2.0, 3.0), outer
    )
    expected = torch.zeros(n + 5, 3, dtype=torch.float64)
    expected[chosen] = 3.0 * edge_forces(gradients, index, n)
    assert float(energy) == pytest.approx(2.0 * float(energies.sum()), rel=1e-12, abs=1e-12)
    tolerance = 1e-12 if outer == torch.float64 else 1e-5
    assert float((forces - expected).abs().max()) <= tolerance * max(
        1.0, float(expected.abs().max())
    )
    again = emulated.forces(gradients, index, energies, chosen, n + 5, n, (2.0, 3.0), outer, seed=9)
    assert torch.equal(forces, again[1])


@pytest.mark.parametrize("what", ["centre", "neighbour", "particle"])
@pytest.mark.parametrize("wrong", [-1, 40])
def test_atoms_that_are_not_there_give_no_number(emulated: Emulated, what: str, wrong: int) -> None:
    index, chosen = torch.randint(0, 33, (2, 90)), torch.randperm(40)[:33]
    if what == "particle":
        chosen[7] = wrong
    else:
        index[int(what == "neighbour"), 5] = wrong
    energies = torch.ones(33, dtype=torch.float64)
    energy, forces = emulated.forces(torch.randn(90, 3), index, energies, chosen, 40, 33)
    assert bool(energy.isnan())
    if what != "particle":
        assert bool(forces[chosen].isnan().all())


def test_launches_of_lists_and_forces(emulated: Emulated) -> None:
    """What one step takes beside the model: all pairs of 21 atoms, and a periodic list of many."""
    emulated.all_pairs(torch.randn(21, 3), torch.arange(21), torch.float32)
    assert emulated.launches == 1
    index = torch.randint(0, 21, (2, 420))
    emulated.forces(torch.randn(420, 3), index, torch.zeros(21).double(), None, 21, 21)
    assert emulated.launches == 2
    rng = np.random.default_rng(0)
    box = box_of(rng, 9.0)
    kept = EmulatedList(emulated, 40, [True] * 3, CUTOFF, SKIN)
    kept.edges(torch.from_numpy(apart(rng, 40, box)), torch.from_numpy(box))
    assert emulated.launches == 6
