"""Stores in pieces: files equal those written at once, batches those of the store in memory."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from idle_md.data import (
    Batch,
    GeometryTensors,
    Labels,
    Manifest,
    Store,
    StoreFile,
    StoreWriter,
    StreamedBatches,
    load,
)
from idle_md.fidelity import LevelOfTheory

CUTOFF = 3.5
FIDELITIES = ["high", "low"]


def write_pieces(path, pieces) -> None:
    with StoreWriter(path) as writer:
        for piece in pieces:
            writer.append(piece)


def cut(store, ends):
    return [store.select(piece) for piece in np.split(np.arange(store.n_geometries), ends)]


def canonical(batch: Batch) -> dict[str, torch.Tensor]:
    """A batch's tensors, its edges sorted by centre, neighbour and vector."""
    keys = [*batch.edge_vectors.T.numpy(), *batch.edge_index.flip(0).numpy()]
    order = torch.from_numpy(np.lexsort(keys))
    edges = {"edge_index": batch.edge_index[:, order], "shifts": batch.shifts[order]}
    return {**vars(batch), **edges, "edge_vectors": batch.edge_vectors[order]}


def assert_equal_batches(one: Batch, two: Batch) -> None:
    assert one.n_graphs == two.n_graphs
    assert (one.edge_index[0].diff() >= 0).all()
    mine, other = canonical(one), canonical(two)
    for name, tensor in mine.items():
        if name != "n_graphs":
            torch.testing.assert_close(
                tensor, other[name], rtol=0, atol=0, equal_nan=True, msg=lambda m, n=name: n + m
            )


@pytest.fixture
def numbered(random_store, tmp_path):
    """A written store whose energies at "low" are the geometries' numbers."""

    def make(n_geometries: int):
        store = random_store(0, n_geometries)
        store.labels["low"].energy[:] = np.arange(n_geometries)
        store.write(tmp_path / "numbered.h5")
        return tmp_path / "numbered.h5", store

    return make


def order_of(dataset: StreamedBatches, workers: int = 0, epoch: int = 0) -> list[list[int]]:
    dataset.set_epoch(epoch)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    return [batch.energies[:, 0].int().tolist() for batch in loader]


def flat(batches: list[list[int]]) -> np.ndarray:
    return np.concatenate(batches)


# Writing


def test_one_piece_gives_the_bytes_of_a_store(store, tmp_path) -> None:
    store.write(tmp_path / "whole.h5")
    write_pieces(tmp_path / "pieces.h5", [store])
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "pieces.h5").read_bytes()


@pytest.mark.parametrize("ends", [[1, 2, 30], [0, 7, 7, 59], range(1, 60)])
def test_pieces_give_the_store(store, assert_equal_stores, tmp_path, ends) -> None:
    write_pieces(tmp_path / "pieces.h5", cut(store, ends))
    again = Store.read(tmp_path / "pieces.h5")
    assert_equal_stores(store, again)
    assert again.manifest == store.manifest


def test_pieces_across_many_chunks_give_the_store_in_as_many_bytes(
    random_store, assert_equal_stores, tmp_path
) -> None:
    store = random_store(0, 30_000)
    store.write(tmp_path / "whole.h5")
    write_pieces(tmp_path / "pieces.h5", cut(store, range(700, 30_000, 700)))
    assert_equal_stores(store, Store.read(tmp_path / "pieces.h5"))
    sizes = [(tmp_path / name).stat().st_size for name in ("whole.h5", "pieces.h5")]
    assert sizes[1] < 1.05 * sizes[0]


def test_columns_take_the_type_that_holds_all_pieces(store, tmp_path) -> None:
    short = replace(store, group=np.full(60, "a"), info={"T": np.arange(60), "name": store.role})
    long = replace(short, group=np.full(60, "é" * 40), info={**short.info, "T": np.full(60, 0.5)})
    write_pieces(tmp_path / "set.h5", [short, long, short])
    again = Store.read(tmp_path / "set.h5")
    assert again.group.tolist() == ["a"] * 60 + ["é" * 40] * 60 + ["a"] * 60
    np.testing.assert_array_equal(again.info["T"], [*range(60), *[0.5] * 60, *range(60)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"info": {}}, "columns none, the first one frame, smiles, temperature_K"),
        (lambda s: {"labels": {}}, r"fidelities none, the first one high \(wB97X/6-31G\*\), low"),
        (
            lambda s: {"manifest": Manifest(levels={"low": LevelOfTheory(method="PM6")})},
            r"fidelities high \(high\), low \(PM6\), the first one high \(wB97X",
        ),
        (
            lambda s: {"info": {**s.info, "frame": s.role}},
            "info/frame is text in one part of the store and numbers in another",
        ),
    ],
)
def test_piece_that_does_not_fit_is_refused(store, tmp_path, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        write_pieces(tmp_path / "set.h5", [store, replace(store, **change(store))])
    assert list(tmp_path.iterdir()) == []


def test_interrupted_writing_leaves_what_was_there(store, tmp_path) -> None:
    path = tmp_path / "set.h5"
    path.write_text("before")

    def interrupted():
        yield store
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pieces(path, interrupted())
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "before"


def test_writing_nothing_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"set\.h5: nothing to write"):
        write_pieces(tmp_path / "set.h5", [])
    assert list(tmp_path.iterdir()) == []


# Reading


@pytest.fixture
def large(random_store, tmp_path):
    """A store of several windows and its open file."""
    store = random_store(0, 5_000)
    store.write(tmp_path / "set.h5")
    with StoreFile(tmp_path / "set.h5") as file:
        yield store, file


@pytest.mark.parametrize(
    "indices",
    [
        [],
        [4_999],
        [-1, 0, 0, 1_023, 1_024, 17],
        slice(None),
        slice(900, 3_100, 7),
        np.random.default_rng(0).permutation(5_000)[:800],
        np.random.default_rng(1).random(5_000) < 0.01,
        np.random.default_rng(2).integers(5_000, size=9_000),
    ],
    ids=["none", "last", "some", "all", "slice", "random", "mask", "repeated"],
)
def test_part_of_a_file_equals_the_selection(large, assert_equal_stores, indices) -> None:
    store, file = large
    assert file.n_geometries == store.n_geometries
    np.testing.assert_array_equal(file.offsets, store.offsets)
    part = file.read(indices)
    chosen = np.arange(store.n_geometries)[indices]
    assert_equal_stores(part, store.select(chosen))
    assert part.manifest == store.manifest


def test_only_the_wanted_fidelities_are_read(store, tmp_path) -> None:
    store.write(tmp_path / "set.h5")
    with StoreFile(tmp_path / "set.h5", ["high"]) as file:
        part = file.read(slice(None))
    assert part.fidelities == list(file.manifest.levels) == ["high"]
    np.testing.assert_array_equal(part.labels["high"].forces, store.labels["high"].forces)


def test_unknown_fidelity_or_geometry_is_refused(large) -> None:
    _, file = large
    with pytest.raises(ValueError, match=r"unknown fidelity 'mid': .* has low, high"):
        StoreFile(file.path, ["low", "mid"])
    with pytest.raises(IndexError):
        file.read([5_000])


@pytest.mark.parametrize("opening", [StoreFile, lambda p: StreamedBatches(p, 5.0, ["low"], size=2)])
class TestWrongFiles:
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_truncated(self, opening, share, random_store, tmp_path) -> None:
        path = tmp_path / "set.h5"
        random_store(0, 500).write(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=r"set\.h5: .*truncated: copy it again"):
            opening(path)

    def test_foreign(self, opening, tmp_path) -> None:
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["x"] = [1.0]
        with pytest.raises(ValueError, match=r"other\.h5: an HDF5 file, but no idle_md store"):
            opening(tmp_path / "other.h5")

    @pytest.mark.parametrize("name", ["offsets", "positions", "labels/low/forces"])
    def test_array_missing(self, opening, name, store, tmp_path) -> None:
        store.write(tmp_path / "set.h5")
        with h5py.File(tmp_path / "set.h5", "a") as file:
            del file[name]
        with pytest.raises(ValueError, match=rf"set\.h5: the array '{name}' is missing"):
            opening(tmp_path / "set.h5")

    def test_absent(self, opening, tmp_path) -> None:
        with pytest.raises(FileNotFoundError, match=r"absent\.h5: no such file"):
            opening(tmp_path / "absent.h5")


def test_damaged_array_is_refused_when_it_is_read(large) -> None:
    _, file = large
    with h5py.File(file.path) as raw:
        where = raw["positions"].id.get_chunk_info(0).byte_offset
    damaged = bytearray(file.path.read_bytes())
    damaged[where + 100] ^= 0xFF
    copy = file.path.with_name("damaged.h5")
    copy.write_bytes(damaged)
    with (
        StoreFile(copy) as other,
        pytest.raises(ValueError, match=r"damaged\.h5: not a whole HDF5 store"),
    ):
        other.read([0])


# Batches


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_of_a_store_equals_that_of_its_tensors(store, dtype) -> None:
    for some in (store, replace(store, pbc=np.zeros_like(store.pbc))):
        tensors = GeometryTensors(some, CUTOFF, FIDELITIES, dtype)
        expected = tensors.batch(np.arange(some.n_geometries))
        assert_equal_batches(Batch.of(some, CUTOFF, FIDELITIES, dtype), expected)


def test_batch_of_the_shipped_set_equals_that_of_its_tensors() -> None:
    store = load("chno-mini", ["gfn2"])
    store = store.select(np.random.default_rng(0).permutation(store.n_geometries)[:300])
    expected = GeometryTensors(store, 4.0, ["gfn2"]).batch(np.arange(300))
    assert_equal_batches(Batch.of(store, 4.0, ["gfn2"]), expected)


def test_large_geometries_take_a_cell_list() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([3, 250, 100, 101, 1])
    n_atoms = int(counts.sum())
    store = Store(
        numbers=np.ones(n_atoms, dtype=np.int64),
        positions=8 * rng.random((n_atoms, 3)),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        cell=np.zeros((5, 3, 3)),
        pbc=np.zeros((5, 3), dtype=bool),
        charge=np.zeros(5, dtype=np.int64),
        group=np.array(["a"] * 5),
        role=np.array([""] * 5),
        labels={"low": Labels(np.zeros(5), np.zeros((n_atoms, 3), np.float32))},
    )
    expected = GeometryTensors(store, CUTOFF, ["low"]).batch(np.arange(5))
    assert_equal_batches(Batch.of(store, CUTOFF, ["low"]), expected)


def test_what_has_no_neighbours_is_refused(store) -> None:
    with pytest.raises(ValueError, match="the cutoff must be positive"):
        Batch.of(store, 0.0, ["low"])
    store.positions[4] = np.nan
    with pytest.raises(ValueError, match="is not a number"):
        Batch.of(store, CUTOFF, ["low"])


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_equal_those_of_the_tensors(numbered, workers) -> None:
    path, store = numbered(300)
    tensors = GeometryTensors(store, CUTOFF, ["low", "high"])
    dataset = StreamedBatches(path, CUTOFF, ["low", "high"], size=32, block=16, n_blocks=4)
    n_batches = 0
    for batch in DataLoader(dataset, batch_size=None, num_workers=workers):
        assert_equal_batches(batch, tensors.batch(batch.energies[:, 0].long()))
        n_batches += 1
    assert n_batches >= 300 / 32


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("n_geometries", [1, 33, 500])
def test_every_geometry_comes_once(numbered, workers, n_geometries) -> None:
    path, _ = numbered(n_geometries)
    dataset = StreamedBatches(path, 1.0, ["low"], size=12, block=16, n_blocks=3)
    batches = order_of(dataset, workers)
    assert sorted(flat(batches)) == list(range(n_geometries))
    assert max(map(len, batches)) <= 12
    assert sum(len(batch) < 12 for batch in batches) <= max(workers, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_only_the_wanted_geometries_come(numbered, workers) -> None:
    path, _ = numbered(3_000)
    wanted = np.random.default_rng(0).permutation(3_000)[:500]
    dataset = StreamedBatches(path, 1.0, ["low"], size=32, indices=wanted, block=64)
    assert sorted(flat(order_of(dataset, workers))) == sorted(wanted)
    with pytest.raises(IndexError):
        StreamedBatches(path, 1.0, ["low"], size=32, indices=np.array([3_000]))


@pytest.mark.parametrize("workers", [0, 2])
def test_order_follows_from_seed_and_epoch(numbered, workers) -> None:
    path, _ = numbered(400)

    def order(seed: int, epoch: int) -> list[list[int]]:
        dataset = StreamedBatches(path, 1.0, ["low"], size=32, seed=seed, block=16, n_blocks=4)
        return order_of(dataset, workers, epoch)

    assert order(0, 0) == order(0, 0)
    different = [flat(order(seed, epoch)).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(map(tuple, different))) == 4


def test_running_workers_learn_of_a_new_epoch(numbered) -> None:
    path, _ = numbered(400)
    dataset = StreamedBatches(path, 1.0, ["low"], size=32, block=16, n_blocks=4)
    expected = [order_of(dataset, 2, epoch) for epoch in (0, 1)]
    loader = DataLoader(dataset, batch_size=None, num_workers=2, persistent_workers=True)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        found = [batch.energies[:, 0].int().tolist() for batch in loader]
        assert found == expected[epoch]


@pytest.mark.parametrize("n_blocks", [4, 64])
def test_order_is_close_to_a_uniform_permutation(numbered, n_blocks) -> None:
    n = 4_096
    path, _ = numbered(n)
    dataset = StreamedBatches(path, 1.0, ["low"], size=64, block=64, n_blocks=n_blocks)
    order = flat(order_of(dataset))
    displacement = np.abs(order - np.arange(n)).mean() / n
    spread = np.sqrt(2 / 45 / n) if n_blocks == 64 else np.sqrt(2 / 45 / 64)
    assert abs(displacement - 1 / 3) < 4 * spread
    neighbours = np.abs(np.diff(order)) == 1
    assert neighbours.mean() < 2 / n + (0 if n_blocks == 64 else 2 / 256) + 4 * np.sqrt(2 / 256 / n)
