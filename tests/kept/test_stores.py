"""Data sets."""

import numpy as np
import pytest

from idle_md.data import Store, load

ARRAYS = ("numbers", "positions", "offsets", "cell", "pbc", "charge", "group", "role")


@pytest.mark.parametrize("name", ["store.h5", "store.extxyz"])
def test_store(files, numbers, name) -> None:
    assert_holds(load(files / name), numbers["stores"][name])


def test_store_is_read_by_its_class(files, numbers) -> None:
    assert_holds(Store.read(files / "store.h5"), numbers["stores"]["store.h5"])


def assert_holds(store: Store, kept) -> None:
    for key in ARRAYS:
        np.testing.assert_array_equal(getattr(store, key), np.array(kept[key]), err_msg=key)
    assert set(store.fidelities) == set(kept["labels"])
    for fidelity, labels in kept["labels"].items():
        mine = store.labels[fidelity]
        np.testing.assert_array_equal(mine.energy, np.array(labels["energy"], np.float64))
        np.testing.assert_array_equal(mine.forces, np.array(labels["forces"], np.float32))
    assert set(store.info) == set(kept["info"])
    for key, column in kept["info"].items():
        expected = np.array(column, store.info[key].dtype)
        np.testing.assert_array_equal(store.info[key], expected, err_msg=key)
    assert store.manifest.model_dump(mode="json") == kept["manifest"]
