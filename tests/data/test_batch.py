"""Batches equal a loop over geometries."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from idle_md.data import Batch, GeometryTensors, Labels, Store, load
from idle_md.neighbors import neighbor_list

CUTOFF = 3.5


@pytest.fixture(params=["periodic", "open"])
def some_store(store, request):
    if request.param == "open":
        return replace(store, pbc=np.zeros_like(store.pbc), cell=np.zeros_like(store.cell))
    return store


@pytest.mark.parametrize("size", [1, 7, 60])
def test_batch_equals_a_loop(some_store, size) -> None:
    store = some_store
    tensors = GeometryTensors(store, CUTOFF, ["high", "low"], dtype=torch.float64)
    indices = np.random.default_rng(size).integers(store.n_geometries, size=size)
    batch = tensors.batch(indices)
    edges, vectors, graph, first = [], [], [], 0
    for position, index in enumerate(indices):
        atoms = store.atoms(index)
        pairs, shifts = neighbor_list(atoms.positions, CUTOFF, atoms.cell.array, atoms.pbc)
        centre, neighbor = pairs
        edges.append(pairs + first)
        vectors.append(atoms.positions[neighbor] - atoms.positions[centre] + shifts)
        graph += [position] * len(atoms)
        mine = slice(first, first + len(atoms))
        its = slice(store.offsets[index], store.offsets[index + 1])
        first += len(atoms)
        assert batch.species[mine].tolist() == atoms.numbers.tolist()
        np.testing.assert_array_equal(batch.positions[mine], atoms.positions)
        for column, name in enumerate(["high", "low"]):
            labels = store.labels[name]
            np.testing.assert_array_equal(batch.energies[position, column], labels.energy[index])
            np.testing.assert_array_equal(batch.forces[mine, column], labels.forces[its])
    assert batch.n_graphs == size
    assert batch.graph_index.tolist() == graph
    found = _ordered(batch.edge_index.numpy(), batch.edge_vectors.numpy())
    expected = _ordered(np.concatenate(edges, axis=1), np.concatenate(vectors))
    np.testing.assert_array_equal(found, expected)


def _ordered(edges: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Centre, neighbour and vector of the edges, sorted: their order within a centre is free."""
    rows = np.concatenate([edges, vectors.T])
    return rows[:, np.lexsort(rows[::-1])]


def assert_same_bits(one: Batch, two: Batch) -> None:
    mine, other = vars(one), vars(two)
    assert mine.pop("n_graphs") == other.pop("n_graphs")
    for name, tensor in mine.items():
        assert tensor.dtype == other[name].dtype, name
        assert tensor.numpy().tobytes() == other[name].numpy().tobytes(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_are_the_same_whether_edges_are_kept_or_made(some_store, dtype) -> None:
    kept, made = (
        GeometryTensors(some_store, CUTOFF, ["high", "low"], dtype, kept_bytes)
        for kept_bytes in (None, 0)
    )
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 60):
        indices = rng.integers(some_store.n_geometries, size=size)
        assert_same_bits(kept.batch(indices), made.batch(indices))


def of_sizes(*n_atoms: int) -> Store:
    """Atoms at random places within 8 angstrom."""
    total, count = sum(n_atoms), len(n_atoms)
    return Store(
        numbers=np.ones(total, dtype=np.int64),
        positions=8 * np.random.default_rng(0).random((total, 3)),
        offsets=np.concatenate([[0], np.cumsum(n_atoms)]),
        cell=np.zeros((count, 3, 3)),
        pbc=np.zeros((count, 3), dtype=bool),
        charge=np.zeros(count, dtype=np.int64),
        group=np.array(["a"] * count),
        role=np.array([""] * count),
        labels={"low": Labels(np.zeros(count), np.zeros((total, 3), np.float32))},
    )


@pytest.mark.parametrize("sizes", [(3, 250, 100, 101, 1), (3, 256, 5), (3, 257, 5), (3, 70, 5)])
def test_batches_are_the_same_beside_large_geometries(sizes) -> None:
    store = of_sizes(*sizes)
    kept, made = (GeometryTensors(store, CUTOFF, ["low"], kept_bytes=most) for most in (None, 0))
    backwards = list(range(len(sizes)))[::-1]
    assert_same_bits(kept.batch(backwards), made.batch(backwards))
    pairs, _ = neighbor_list(store.atoms(1).positions, CUTOFF)
    batch = made.batch([1])
    found = _ordered(batch.edge_index.numpy(), batch.edge_vectors.numpy())
    np.testing.assert_array_equal(found[:2], pairs[:, np.lexsort(pairs[::-1])])


@pytest.mark.parametrize("kept_bytes", [None, 0])
def test_what_has_no_neighbours_is_refused(store, kept_bytes) -> None:
    with pytest.raises(ValueError, match="the cutoff must be positive"):
        GeometryTensors(store, 0.0, ["low"], kept_bytes=kept_bytes)
    store.positions[4] = np.nan
    with pytest.raises(ValueError, match="is not a number"):
        GeometryTensors(store, CUTOFF, ["low"], kept_bytes=kept_bytes)


def test_edges_are_kept_within_the_memory_asked_for() -> None:
    store = load("chno-mini", ["gfn2"])
    store = store.select(store.role == "train")
    everything = GeometryTensors(store, 5.0, ["gfn2"]).batch(np.arange(store.n_geometries))

    def retained(kept_bytes: int) -> int:
        tracemalloc.start()
        tensors = GeometryTensors(store, 5.0, ["gfn2"], kept_bytes=kept_bytes)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(tensors) == store.n_geometries
        return size

    edges = 2 * everything.edge_index.shape[1]  # bytes
    assert retained(0) == pytest.approx(retained(edges // 2), abs=0.01 * edges)
    assert retained(2 * edges) - retained(0) == pytest.approx(edges, rel=0.2)


def test_edges_are_sorted_by_centre_and_within_the_cutoff(store) -> None:
    batch = GeometryTensors(store, CUTOFF, ["low"]).batch(torch.arange(store.n_geometries))
    centre, neighbor = batch.edge_index
    assert (centre.diff() >= 0).all()
    assert (batch.graph_index[centre] == batch.graph_index[neighbor]).all()
    assert batch.edge_vectors.norm(dim=1).max() < CUTOFF + 1e-5


def test_edge_vectors_carry_gradients_to_positions(store) -> None:
    batch = GeometryTensors(store, CUTOFF, ["low"], torch.float64).batch(np.arange(20))
    batch.positions.requires_grad_()
    edges = torch.randn(batch.edge_vectors.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((batch.edge_vectors * edges).sum(), batch.positions)
    expected = torch.zeros_like(gradient)
    expected.index_add_(0, batch.edge_index[1], edges).index_add_(0, batch.edge_index[0], -edges)
    torch.testing.assert_close(gradient, expected)


def test_types_follow_the_request(store) -> None:
    batch = GeometryTensors(store, CUTOFF, ["low"]).batch([0, 1])
    assert batch.positions.dtype == batch.shifts.dtype == batch.forces.dtype == torch.float32
    double = batch.to("cpu", torch.float64)
    assert double.edge_vectors.dtype == double.forces.dtype == torch.float64
    assert batch.energies.dtype == double.energies.dtype == torch.float64
    assert batch.species.dtype == batch.edge_index.dtype == torch.int64
    np.testing.assert_array_equal(double.energies, batch.energies)


def test_hidden_labels_stay_hidden_and_the_store_keeps_them(store) -> None:
    before = store.labels["low"].energy.copy()
    tensors = GeometryTensors(store, CUTOFF, ["low"], torch.float32)
    tensors.energies[:] = np.nan
    tensors.forces[:] = np.nan
    batch = tensors.batch(np.arange(5))
    assert batch.energies.isnan().all()
    assert batch.forces.isnan().all()
    np.testing.assert_array_equal(store.labels["low"].energy, before)
    assert store.has_forces("low").any()


def test_unknown_fidelity_is_refused(store) -> None:
    with pytest.raises(ValueError, match="unknown fidelity 'mid'"):
        GeometryTensors(store, CUTOFF, ["low", "mid"])


def test_neighbours_of_the_shipped_set_are_all_within_a_molecule() -> None:
    store = load("chno-mini")
    tensors = GeometryTensors(store.select(store.role == "test"), 30.0, ["wb97x"])
    batch = tensors.batch(np.arange(len(tensors)))
    n_atoms = tensors.offsets.diff()
    assert batch.edge_index.shape[1] == (n_atoms * (n_atoms - 1)).sum()
