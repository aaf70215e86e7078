"""Groups of any depth, and databases that say their units."""

import ase.build
import ase.db
import h5py
import numpy as np
import pytest

from idle_md.data import import_data
from idle_md.units import KCAL_PER_MOL

NAMES = ("H2O", "CH4")


def arrays(name: str, n: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Atoms on springs around a molecule: numbers, positions, energies in eV, forces."""
    molecule, rng = ase.build.molecule(name), np.random.default_rng(len(name))
    moved = 0.03 * rng.normal(size=(n, len(molecule), 3))
    moved -= moved.mean(axis=1, keepdims=True)
    energies = {"H2O": -2079.0, "CH4": -1102.0}[name] + 15.0 * (moved**2).sum(axis=(1, 2))
    return molecule.numbers, molecule.positions + moved, energies, -30.0 * moved


def test_groups_of_any_depth_are_read_once(tmp_path) -> None:
    """As Transition1x has them, whose parts are linked to the whole."""
    with h5py.File(tmp_path / "t1x.h5", "w") as file:
        for name in NAMES:
            group = file.create_group(f"data/{name}/rxn0001")
            keys = "atomic_numbers", "positions", "wB97x_6-31G(d).energy", "wB97x_6-31G(d).forces"
            for key, array in zip(keys, arrays(name), strict=True):
                group[key] = array
            file[f"train/{name}"] = group
    store = import_data(tmp_path / "t1x.h5")
    assert store.n_geometries == 24
    assert store.has_forces("wb97x_6-31gd").all()
    expected = np.concatenate([arrays(name)[2] for name in sorted(NAMES)])
    np.testing.assert_allclose(store.labels["wb97x_6-31gd"].energy, expected)


def test_one_geometry_a_group_is_read_with_the_keys_that_are_named(tmp_path) -> None:
    """As QM7-X has them."""
    with h5py.File(tmp_path / "qm7x.h5", "w") as file:
        for number, name in enumerate(NAMES):
            for k, (x, e, f) in enumerate(zip(*arrays(name)[1:], strict=True)):
                group = file.create_group(f"{number}/Geom-{k}")
                group["atNUM"], group["atXYZ"] = arrays(name)[0], x
                group["ePBE0"], group["totFOR"] = [e], f
    with pytest.raises(ValueError, match="the keys found are atNUM, atXYZ, ePBE0, totFOR; name"):
        import_data(tmp_path / "qm7x.h5")
    store = import_data(tmp_path / "qm7x.h5", energy={"ePBE0": "pbe0"}, forces={"totFOR": "pbe0"})
    assert sorted(set(store.group)) == ["0", "1"]
    assert store.has_forces("pbe0").all()
    assert np.isin(arrays("H2O")[2], store.labels["pbe0"].energy).all()


@pytest.fixture
def schnetpack(tmp_path):
    def write(metadata: dict, charge: int = 0, scale: float = 1.0):
        with ase.db.connect(tmp_path / "spk.db") as database:
            for name in NAMES:
                for x, e, f in zip(*arrays(name)[1:], strict=True):
                    data = {"energy": np.array([e / scale]), "forces": f / scale}
                    data["total_charge"] = np.array([charge])
                    database.write(ase.Atoms(name, x), data=data)
        database.metadata = metadata
        return tmp_path / "spk.db"

    return write


def test_units_and_charges_of_schnetpack_are_read(schnetpack) -> None:
    units = {"energy": "kcal/mol", "forces": "kcal/mol/Ang", "total_charge": "e"}
    about = {"_property_unit_dict": units, "_distance_unit": "Ang"}
    store = import_data(schnetpack(about, 2, KCAL_PER_MOL), fidelity="pbe")
    expected = np.concatenate([arrays(name)[2] for name in NAMES])
    np.testing.assert_allclose(store.labels["pbe"].energy, expected)
    assert np.abs(store.labels["pbe"].forces[:3] - arrays("H2O")[3][0]).max() < 1e-5
    assert set(store.charge) == {2}


def test_units_of_schnetpack_are_checked(schnetpack) -> None:
    about = {"_property_unit_dict": {"energy": "eV"}, "_distance_unit": "Ang"}
    with pytest.raises(ValueError, match="the energies are not in eV"):
        import_data(schnetpack(about, scale=KCAL_PER_MOL), fidelity="pbe")
