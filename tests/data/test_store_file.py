"""Stores written in pieces equal those written at once."""

from dataclasses import replace

import numpy as np
import pytest

from idle_md.data import Manifest, Store, StoreWriter
from idle_md.fidelity import LevelOfTheory


def write_pieces(path, pieces) -> None:
    with StoreWriter(path) as writer:
        for piece in pieces:
            writer.append(piece)


def cut(store, ends):
    return [store.select(piece) for piece in np.split(np.arange(store.n_geometries), ends)]


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
