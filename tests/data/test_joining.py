import ase
import ase.build
import numpy as np
import pytest

from idle_md.data import Labels, Store, from_atoms, join, merge_copies


def labelled(symbols: str, fidelity: str, energy: float, **levels) -> Store:
    store = from_atoms([ase.build.molecule(symbols)], [symbols])
    shape = (len(store.numbers), 3)
    store.labels = {fidelity: Labels(np.array([energy]), np.zeros(shape, np.float32))}
    store.manifest = store.manifest.covering(store.labels)
    known = store.manifest.levels[fidelity].model_copy(update=levels)
    store.manifest = store.manifest.model_copy(update={"levels": {fidelity: known}})
    return store


def test_from_atoms_keeps_charge_cell_and_columns() -> None:
    crystal = ase.build.bulk("C", cubic=True)
    crystal.info = {"charge": 1, "frame": 3}
    store = from_atoms([crystal, ase.build.molecule("H2O")], ["a", "b"], role="test")
    assert store.charge.tolist() == [1, 0]
    assert store.pbc.all(axis=1).tolist() == [True, False]
    np.testing.assert_array_equal(store.cell[0], crystal.cell.array)
    assert set(store.role) == {"test"}
    assert store.info["frame"][0] in (3, "3")


def test_what_is_not_in_both_is_missing() -> None:
    first, second = labelled("H2O", "low", -1.0), labelled("CH4", "high", -2.0)
    first.info["frame"] = np.array([7])
    second.info["smiles"] = np.array(["C"])
    store = join([first, second, first])
    assert store.n_atoms.tolist() == [3, 5, 3]
    np.testing.assert_array_equal(store.positions[3:8], second.positions)
    np.testing.assert_array_equal(store.labels["low"].energy, [-1.0, np.nan, -1.0])
    assert store.has_forces("high").tolist() == [False, True, False]
    np.testing.assert_array_equal(store.info["frame"], [7, np.nan, 7])
    assert store.info["smiles"].tolist() == ["", "C", ""]


def test_copies_become_one_with_the_labels_of_all() -> None:
    first, second = labelled("H2O", "low", -1.0), labelled("H2O", "high", -2.0)
    second.role = np.array(["test"])
    again = labelled("H2O", "low", -1.001)
    store = merge_copies(join([labelled("CH4", "low", -3.0), first, second, again]))
    assert store.n_atoms.tolist() == [5, 3]
    assert store.role.tolist() == ["", "test"]
    np.testing.assert_array_equal(store.labels["low"].energy, [-3.0, -1.0])
    np.testing.assert_array_equal(store.labels["high"].energy, [np.nan, -2.0])
    assert store.has_forces("high").tolist() == [False, True]


@pytest.mark.parametrize("held_out", ["test", "ood"])
@pytest.mark.parametrize("comes_first", [True, False])
def test_what_one_data_set_holds_out_is_held_out(held_out: str, comes_first: bool) -> None:
    one, other = labelled("H2O", "low", -1.0), labelled("H2O", "high", -2.0)
    one.role, other.role = np.array([held_out]), np.array(["train"])
    with pytest.warns(UserWarning, match=r"1 geometries have the role train .*\(H2O\)"):
        store = merge_copies(join([one, other] if comes_first else [other, one]))
    assert store.role.tolist() == [held_out]
    assert store.has_energy("high").all()


def test_one_name_for_two_levels_is_refused() -> None:
    first = labelled("H2O", "dft", -1.0, method="wB97X", basis="6-31G*")
    same = labelled("H2O", "dft", -1.0, method="wb97x", basis="6-31g*")
    other = labelled("H2O", "dft", -1.0, method="PBE", basis="6-31g*")
    assert join([first, same]).manifest.levels["dft"].title == "wB97X/6-31G*"
    with pytest.raises(ValueError, match=r"'dft' is wB97X/6-31G\* in one data set and PBE/6-31g\*"):
        join([first, other])
    with pytest.raises(ValueError, match="nothing to join"):
        join([])
