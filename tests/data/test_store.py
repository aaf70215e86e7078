"""The store: masks, selections, and files that are whole or refused."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from idle_md.data import Store


def test_hdf5_round_trip_keeps_every_bit(store, assert_equal_stores, tmp_path) -> None:
    store.write(tmp_path / "set.h5")
    again = Store.read(tmp_path / "set.h5")
    assert_equal_stores(store, again)
    assert again.manifest == store.manifest


def test_same_store_gives_same_bytes(store, tmp_path) -> None:
    store.write(tmp_path / "one.h5")
    backwards = dict(reversed(store.info.items()))
    replace(store, info=backwards).write(tmp_path / "two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_a_level_that_was_taken_away_is_not_in_the_file(store, tmp_path) -> None:
    kept = store.fidelities[0]
    store.labels = {kept: store.labels_of(kept)}
    store.write(tmp_path / "one.h5")
    again = Store.read(tmp_path / "one.h5")
    assert again.fidelities == [kept]
    assert list(again.manifest.levels) == [kept]


def test_masks_are_those_of_the_labels(store) -> None:
    for name, labels in store.labels.items():
        for index in range(store.n_geometries):
            mine = slice(store.offsets[index], store.offsets[index + 1])
            assert store.has_energy(name)[index] == (not np.isnan(labels.energy[index]))
            assert store.has_forces(name)[index] == (not np.isnan(labels.forces[mine]).any())


def test_selection_equals_picking_one_by_one(store) -> None:
    chosen = np.random.default_rng(1).permutation(store.n_geometries)[:17]
    selected = store.select(chosen)
    for new, old in enumerate(chosen):
        assert selected.atoms(new) == store.atoms(old)
        assert selected.group[new] == store.group[old]
        assert selected.info["frame"][new] == old
        for name, labels in store.labels.items():
            mine = slice(store.offsets[old], store.offsets[old + 1])
            its = slice(selected.offsets[new], selected.offsets[new + 1])
            np.testing.assert_array_equal(labels.forces[mine], selected.labels[name].forces[its])
            np.testing.assert_array_equal(labels.energy[old], selected.labels[name].energy[new])


def test_selection_by_mask_equals_that_by_indices(store, assert_equal_stores) -> None:
    mask = store.has_energy("high")
    assert_equal_stores(store.select(mask), store.select(np.flatnonzero(mask)))
    assert store.select([]).n_geometries == 0


def test_element_counts(store) -> None:
    counts = store.element_counts(store.elements)
    for index in range(store.n_geometries):
        numbers = store.atoms(index).numbers
        assert counts[index].tolist() == [np.sum(numbers == each) for each in store.elements]


def test_element_counts_name_an_unknown_element(store) -> None:
    with pytest.raises(ValueError, match=r"unknown elements Cl: only H, C, N, O are known"):
        store.element_counts([1, 6, 7, 8])


def test_unknown_fidelity_lists_those_there_are(store) -> None:
    with pytest.raises(ValueError, match=r"unknown fidelity 'hihg': .*'random' has low, high"):
        store.has_energy("hihg")


def test_forces_for_some_atoms_only_are_refused(store) -> None:
    geometry = int(np.flatnonzero(store.has_forces("low"))[0])
    store.labels["low"].forces[store.offsets[geometry], 1] = np.nan
    with pytest.raises(ValueError, match=rf"low forces of geometry {geometry} are NaN for some"):
        store.select(np.arange(store.n_geometries))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_file_is_refused(share, random_store, tmp_path) -> None:
    path = tmp_path / "set.h5"
    random_store(0, 500).write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"set\.h5: .*truncated: copy it again") as error:
        Store.read(path)
    assert "idle-md data convert" in str(error.value)


def test_damaged_array_is_refused(random_store, tmp_path) -> None:
    path = tmp_path / "set.h5"
    random_store(0, 500).write(path)
    with h5py.File(path) as file:
        where = file["positions"].id.get_chunk_info(0).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[where + 100] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"set\.h5: not a whole HDF5 store"):
        Store.read(path)


def test_file_that_is_no_store_is_refused(tmp_path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.h5: not a whole HDF5 store"):
        Store.read(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1.0]
    with pytest.raises(ValueError, match=r"other\.h5: an HDF5 file, but no idle_md store"):
        Store.read(tmp_path / "other.h5")


def test_missing_array_is_named(store, tmp_path) -> None:
    store.write(tmp_path / "set.h5")
    with h5py.File(tmp_path / "set.h5", "a") as file:
        del file["labels/high/forces"]
    with pytest.raises(ValueError, match=r"set\.h5: the array 'labels/high/forces' is missing"):
        Store.read(tmp_path / "set.h5")


def test_arrays_that_do_not_fit_are_named(store, tmp_path) -> None:
    store.write(tmp_path / "set.h5")
    with h5py.File(tmp_path / "set.h5", "a") as file:
        energy = file["labels/high/energy"][:-1]
        del file["labels/high/energy"]
        file["labels/high/energy"] = energy
    with pytest.raises(ValueError, match=r"set\.h5: high energy has shape \(59,\).*need \(60,\)"):
        Store.read(tmp_path / "set.h5")


def test_other_format_version_is_refused(store, tmp_path) -> None:
    store.write(tmp_path / "set.h5")
    with h5py.File(tmp_path / "set.h5", "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(ValueError, match=r"set\.h5: store format version 99.* reads 1"):
        Store.read(tmp_path / "set.h5")


def test_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.h5: no such file"):
        Store.read(tmp_path / "absent.h5")
