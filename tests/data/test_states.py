"""Charge and spin under the names of the field."""

import ase.db
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from idle_md.cli.data import app
from idle_md.data import import_data, read_extxyz

WATER = (
    "3\nProperties=species:S:1:pos:R:3 {} e_energy=-1.0\nO 0 0 0.1\nH 0 0.75 -0.4\nH 0 -0.75 -0.4\n"
)


@pytest.fixture
def path(tmp_path):
    def write(*pairs: str):
        (tmp_path / "set.xyz").write_text("".join(WATER.format(each) for each in pairs))
        return tmp_path / "set.xyz"

    return write


@pytest.mark.parametrize(
    ("pairs", "charge"),
    [
        ("charge=2", 2),
        ("total_charge=2 spin=1", 2),
        ("TotalCharge=-2.0 spin=0", -2),
        ("net-charge=+2", 2),
        ("Charge=2 total_charge=2.0 multiplicity=1", 2),
        ("qtot=-2 n_unpaired=0 uhf=0", -2),
        ("dipole=2", 0),
    ],
)
def test_charge_is_read_under_its_names(path, pairs, charge) -> None:
    store = read_extxyz(path(pairs, "charge=0"))
    assert store.charge.tolist() == [charge, 0]
    assert not any("charge" in key.lower() for key in store.info)


@pytest.mark.parametrize(
    "pairs", ["spin=3", "multiplicity=2", "spin_multiplicity=3.0", "unpaired=2", "UHF=1", "spin=2"]
)
def test_open_shells_are_refused_with_their_number(path, pairs) -> None:
    with pytest.raises(ValueError, match=rf"frame 2 .*{pairs} is an open shell, as are 1 other"):
        read_extxyz(path("spin=1", pairs, pairs))


def test_isolated_atoms_may_be_open(tmp_path) -> None:
    (tmp_path / "a.xyz").write_text(
        "1\nProperties=species:S:1:pos:R:3 spin=2 e_energy=-13\nH 0 0 0\n"
    )
    assert read_extxyz(tmp_path / "a.xyz").n_geometries == 1


def test_two_charges_and_fractions_are_refused(path) -> None:
    with pytest.raises(ValueError, match="charge=0 and total_charge=2 are two total charges"):
        read_extxyz(path("charge=0 total_charge=2"))
    with pytest.raises(
        ValueError, match=r"total_charge is '0\.5'; give the total charge, an integer"
    ):
        read_extxyz(path("total_charge=0.5"))


def test_databases_tell_charge_and_spin(tmp_path) -> None:
    water = Atoms("OH2", [[0, 0, 0.1], [0, 0.75, -0.4], [0, -0.75, -0.4]])
    with ase.db.connect(tmp_path / "a.db") as database:
        for charge in (0, 2):
            database.write(water, key_value_pairs={"total_charge": charge, "pbe": -2080.0 + charge})
    store = import_data(tmp_path / "a.db", energy={"pbe": "pbe"})
    assert store.charge.tolist() == [0, 2]
    with ase.db.connect(tmp_path / "b.db") as database:
        database.write(water, key_value_pairs={"multiplicity": 3, "pbe": -2080.0})
    with pytest.raises(ValueError, match=r"b\.db, row 1: multiplicity=3 is an open shell"):
        import_data(tmp_path / "b.db", energy={"pbe": "pbe"})


def test_commands_print_which_key_gave_the_charge_and_the_charges(path, tmp_path) -> None:
    file, out = str(path("total_charge=2", "total_charge=0")), str(tmp_path / "o.h5")
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    text = file, "--energy", "e_energy=e", "--energy-unit", "eV", "--trust-units", "-o", out
    imported = CliRunner().invoke(app, ["import", *text], env=environment)
    assert "charges are those of total_charge" in imported.output
    info = CliRunner().invoke(app, ["info", out], env=environment).output
    assert "0 (1), +2 (1)" in info
    assert np.array_equal(read_extxyz(file).charge, [2, 0])
