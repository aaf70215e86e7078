"""Charge and spin under the names of the field."""

import re

import ase.db
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from idle_md.cli.data import app
from idle_md.data import import_data, merge_copies, read_extxyz
from idle_md.data.identity.copies import geometry_ids
from idle_md.data.states import check_closed_shells, check_one_spin, unpaired_of

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
    ("pairs", "unpaired"),
    [
        ("multiplicity=3", 2),
        ("spin_multiplicity=3.0", 2),
        ("unpaired=2", 2),
        ("UHF=2", 2),
        ("spin=3", 2),
        ("spin=2", 2),
        ("spin=2 charge=1", 1),
        ("spin=1 charge=1", 1),
        ("spin=1", 0),
        ("spin=0 multiplicity=1", 0),
        ("spin=up", 0),
    ],
)
def test_spins_are_read_under_their_names(path, pairs, unpaired) -> None:
    """Of ten electrons or nine: where a spin may be two things the parity decides."""
    store = read_extxyz(path("note=1", pairs))
    assert unpaired_of(store).tolist() == [0, unpaired]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("multiplicity=2", "multiplicity=2 is no spin of 10 electrons; correct it, or the charge"),
        ("unpaired=1", "unpaired=1 is no spin of 10"),
        ("spin=0.5", r"spin=0\.5 is no spin of 10"),
        ("uhf=12", "uhf=12 is no spin of 10"),
        ("multiplicity=0", "multiplicity=0 is no spin of 10"),
        ("uhf=0 charge=-1", "uhf=0 is no spin of 11"),
        ("uhf=2 multiplicity=1", "uhf=2 and multiplicity=1 are two spins"),
    ],
)
def test_spins_that_cannot_be_are_refused(path, pairs, message) -> None:
    with pytest.raises(ValueError, match=rf"frame 2 .*{message}"):
        read_extxyz(path("spin=1", pairs))


def test_another_spin_makes_another_geometry_and_a_model_sees_none(path) -> None:
    store = read_extxyz(path("multiplicity=3", "multiplicity=1", "multiplicity=3"))
    assert geometry_ids(store).tolist() == [0, 1, 0]
    assert merge_copies(store).n_geometries == 2
    with pytest.raises(ValueError, match=r"geometries 0 and 1 .* same atoms with 2 and 0 unpaired"):
        check_one_spin(store)
    check_one_spin(store.select([0, 2]))
    with pytest.raises(
        ValueError, match=r"geometry 0 .* 2 unpaired electrons, as are 1 others: sa"
    ):
        check_closed_shells(store, "sampling")


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
    store = import_data(tmp_path / "b.db", energy={"pbe": "pbe"})
    assert unpaired_of(store).tolist() == [2]
    with ase.db.connect(tmp_path / "b.db") as database:
        database.write(water, key_value_pairs={"multiplicity": 2, "pbe": -2080.0})
    with pytest.raises(ValueError, match=r"b\.db, row 2: multiplicity=2 is no spin of 10"):
        import_data(tmp_path / "b.db", energy={"pbe": "pbe"})


def test_commands_print_which_key_gave_the_charge_and_the_charges(path, tmp_path) -> None:
    file, out = str(path("total_charge=2", "total_charge=0")), str(tmp_path / "o.h5")
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    text = file, "--energy", "e_energy=e", "--energy-unit", "eV", "--trust-units", "-o", out
    imported = CliRunner().invoke(app, ["import", *text], env=environment)
    assert "charges are those of total_charge" in imported.output
    info = CliRunner().invoke(app, ["info", out], env=environment).output
    assert "0 (1), +2 (1)" in info
    assert "unpaired" not in info
    (tmp_path / "s.xyz").write_text(WATER.format("mult=1") + 2 * WATER.format("mult=3"))
    info = CliRunner().invoke(app, ["info", str(tmp_path / "s.xyz")], env=environment).output
    assert re.search(r"unpaired electrons .* 0 \(1\), 2 \(2\)", info)
    assert np.array_equal(read_extxyz(file).charge, [2, 0])
