"""The native neighbour list with a skin against one that is built anew at every step."""

import io
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.usefixtures("ops")

CUTOFF = 4.0


def make_list(cutoff=CUTOFF, skin=1.0):
    return torch.classes.idle_md.NeighborList(cutoff, skin)


def fresh_list(positions, cell, pbc):
    return torch.ops.idle_md.neighbor_list(positions, cell, pbc, CUTOFF)


def walk(seed, n_atoms=60, box=9.0, pbc=(True, True, False)):
    rng = np.random.default_rng(seed)
    positions = torch.as_tensor(rng.uniform(0, box, (n_atoms, 3)))
    cell = box * torch.eye(3, dtype=torch.float64) + torch.as_tensor(rng.normal(0, 0.5, (3, 3)))
    steps = torch.as_tensor(rng.normal(0, 0.05, (50, n_atoms, 3)))
    return positions, cell, list(pbc), steps


def within_cutoff(edge_index, vectors, cutoff=CUTOFF):
    near = torch.linalg.vector_norm(vectors, dim=1) < cutoff
    return edge_index[:, near], vectors[near]


@pytest.mark.parametrize("skin", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("pbc", list(product([False, True], repeat=3)))
def test_skin_gives_the_fresh_list_and_rebuilds_when_it_must(skin, pbc) -> None:
    """The same edges within the cutoff, in the same order, to the last bit."""
    positions, cell, pbc, steps = walk(1, pbc=pbc)
    neighbors = make_list(skin=skin)
    built, rebuilds = positions + 99.0, 0
    for number, step in enumerate(steps):
        if number != 5:
            positions = positions + step
        if torch.linalg.vector_norm(positions - built, dim=1).max() > skin / 2:
            built, rebuilds = positions, rebuilds + 1
        edges = neighbors.compute(positions, cell, pbc, torch.float64)
        fresh = fresh_list(positions, cell, pbc)
        assert all(map(torch.equal, within_cutoff(*edges), fresh))
        assert torch.linalg.vector_norm(edges[1], dim=1).max() < CUTOFF + 2 * skin
        assert neighbors.rebuilds() == rebuilds
    assert (rebuilds == 49) if skin == 0 else (1 < rebuilds < 49)


def test_wrapping_an_atom_changes_its_images() -> None:
    positions, cell, pbc, _ = walk(2, pbc=[True] * 3)
    neighbors = make_list()
    neighbors.compute(positions, cell, pbc, torch.float64)
    positions[7] += cell[1]
    edges = neighbors.compute(positions, cell, pbc, torch.float64)
    fresh = fresh_list(positions, cell, pbc)
    assert all(map(torch.equal, within_cutoff(*edges), fresh))


def test_box_and_atom_count_rebuild() -> None:
    positions, cell, pbc, _ = walk(3)
    neighbors = make_list()

    def rebuilds_after(positions, cell, pbc):
        edges = neighbors.compute(positions, cell, pbc, torch.float64)
        fresh = fresh_list(positions, cell, pbc)
        assert all(map(torch.equal, within_cutoff(*edges), fresh))
        return neighbors.rebuilds()

    assert rebuilds_after(positions, cell, pbc) == 1
    assert rebuilds_after(positions, cell.clone(), pbc) == 1
    longer = cell.clone()
    longer[1, 1] += 1e-12
    assert rebuilds_after(positions, longer, pbc) == 2
    longer[2] = torch.nan  # an open direction
    assert rebuilds_after(positions, longer, pbc) == 2
    assert rebuilds_after(positions, cell, [True, False, False]) == 3
    assert rebuilds_after(positions[:-1], cell, [True, False, False]) == 4
    assert rebuilds_after(positions[:0], cell, [True, False, False]) == 5
    assert rebuilds_after(positions, cell, pbc) == 6


def test_single_precision_is_rounded_once() -> None:
    positions, cell, pbc, _ = walk(4)
    neighbors = make_list()
    edge_index, double = neighbors.compute(positions, cell, pbc, torch.float64)
    same_index, single = neighbors.compute(positions, cell, pbc, torch.float32)
    assert single.dtype == torch.float32
    assert torch.equal(single, double.float())
    assert torch.equal(same_index, edge_index)
    assert neighbors.rebuilds() == 1


def test_results_that_are_kept_never_change() -> None:
    positions, cell, pbc, steps = walk(6)
    neighbors = make_list()
    _, kept = neighbors.compute(positions, cell, pbc, torch.float64)
    before, where = kept.clone(), kept.data_ptr()
    view = neighbors.compute(positions + 1e-3 * steps[0], cell, pbc, torch.float64)[1][3:5]
    seen = view.clone()
    again = neighbors.compute(positions + 1e-3 * steps[1], cell, pbc, torch.float64)[1]
    assert neighbors.rebuilds() == 1
    assert torch.equal(kept, before)
    assert torch.equal(view, seen)
    assert len({where, view.untyped_storage().data_ptr(), again.data_ptr()}) == 3


def test_released_memory_is_used_again() -> None:
    positions, cell, pbc, steps = walk(7)
    neighbors = make_list()
    edge_index, vectors = neighbors.compute(positions, cell, pbc, torch.float64)
    where = vectors.data_ptr()
    vectors.requires_grad_()  # must not cling to the memory
    del vectors
    same_index, vectors = neighbors.compute(positions + 1e-3 * steps[0], cell, pbc, torch.float64)
    assert vectors.data_ptr() == where
    assert not vectors.requires_grad
    assert same_index.data_ptr() == edge_index.data_ptr()


class Searcher(torch.nn.Module):
    """What an engine does: holds a list and asks it for edges."""

    def __init__(self) -> None:
        super().__init__()
        self.neighbors = make_list(cutoff=4.5, skin=0.5)
        self.dtype = torch.float32

    def forward(
        self, positions: torch.Tensor, cell: torch.Tensor, pbc: list[bool]
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        edge_index, vectors = self.neighbors.compute(positions, cell, pbc, self.dtype)
        return edge_index, vectors, self.neighbors.rebuilds()


def saved(module):
    content = io.BytesIO()
    torch.jit.save(module, content)
    content.seek(0)
    return torch.jit.load(content)


def test_torchscript_gives_the_same_numbers() -> None:
    positions, cell, pbc, steps = walk(8)
    scripted = torch.jit.script(Searcher().eval())
    frozen = torch.jit.freeze(torch.jit.script(Searcher().eval()))
    modules = [Searcher(), scripted, frozen, saved(scripted), saved(frozen)]
    for step in steps[:20]:
        positions = positions + step
        expected, *others = (module(positions, cell, pbc) for module in modules)
        for edge_index, vectors, rebuilds in others:
            assert torch.equal(edge_index, expected[0])
            assert torch.equal(vectors, expected[1])
            assert rebuilds == expected[2]
    assert 1 < expected[2] < 20
    with pytest.raises(RuntimeError, match="must be float64"):
        frozen(positions.float(), cell, pbc)


def test_two_threads_may_share_a_list() -> None:
    neighbors = make_list()

    def trajectory(seed):
        positions, cell, pbc, steps = walk(seed, n_atoms=40 + seed)
        for step in steps:
            positions = positions + step
            edges = neighbors.compute(positions, cell, pbc, torch.float64)
            fresh = fresh_list(positions, cell, pbc)
            assert all(map(torch.equal, within_cutoff(*edges), fresh))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(trajectory, range(4)))


def test_number_of_threads_changes_no_bit() -> None:
    positions, cell, pbc, _ = walk(9, n_atoms=3000, box=31.0, pbc=[True] * 3)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            edges = make_list().compute(positions, cell, pbc, torch.float32)
            results.append((*edges, *fresh_list(positions, cell, pbc)))
    finally:
        torch.set_num_threads(before)
    assert len(results[0][1]) > 2 * 16384  # several parts
    assert all(map(torch.equal, *results))
