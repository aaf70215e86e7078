"""Frequencies against ASE, against a level of theory, and against measured entropies."""

import json
import time

import ase.build
import ase.io
import numpy as np
import pytest
import torch
from ase.optimize import BFGSLineSearch
from ase.vibrations import Vibrations
from typer.testing import CliRunner

import idle_md
from idle_md.cli.main import app
from idle_md.engines.frequencies import Frequencies, frequencies
from idle_md.label.calculator import LevelCalculator
from idle_md.label.levels import find_level
from idle_md.label.sampling import from_smiles
from idle_md.label.sampling.conformers import start_of
from idle_md.label.vibrations import displaced, force_changes, symmetric, vibrational_modes

KB = 8.617333262e-5  # eV/K
JOULE_PER_MOL = 1.0364269652680505e-05  # eV


@pytest.fixture(scope="module")
def model():
    return idle_md.load("idle-s", dtype=torch.float64)


@pytest.mark.parametrize("name", ["CH3CH2OH", "CH3CONH2", "H2CO", "HCN", "C2H6"])
def test_frequencies_are_those_of_ase(name, model, tmp_path) -> None:
    found = frequencies(model, ase.build.molecule(name))
    atoms = found.atoms.copy()
    atoms.calc = idle_md.Calculator(model)
    vibrations = Vibrations(atoms, name=str(tmp_path / "ase"))
    vibrations.run()
    wanted = np.real(vibrations.get_frequencies())[-len(found.wavenumbers) :]
    assert np.abs(found.wavenumbers - wanted).max() < 1.0
    assert found.largest_force < 1e-4
    assert found.shape == ("linear" if name == "HCN" else "nonlinear")


@pytest.mark.parametrize(
    ("name", "mean", "most"), [("CH3CH2OH", 8.0, 30.0), ("H2O", 10.0, 15.0), ("C4H4O", 12.0, 40.0)]
)
def test_shipped_model_has_the_frequencies_of_its_level(name, mean, most) -> None:
    """Those of live GFN2-xTB at its own minimum, by the same differences."""
    found = frequencies("idle-s-gfn2", ase.build.molecule(name))
    level = LevelCalculator(find_level("gfn2"))
    atoms = found.atoms.copy()
    atoms.calc = level
    BFGSLineSearch(atoms, logfile=None).run(fmax=1e-3)
    changes = force_changes(level.get_forces(each) for each in displaced(atoms))
    wanted = vibrational_modes(atoms, symmetric(changes)).wavenumbers
    errors = np.abs(found.wavenumbers - wanted)
    assert errors.mean() < mean
    assert errors.max() < most


def test_a_kink_of_the_model_is_reported(model) -> None:
    """PaiNN's forces turn within 1e-4 angstrom where neighbours cancel, as around CO2's carbon."""
    kinked, smooth = (frequencies(model, ase.build.molecule(n)) for n in ("CO2", "CH3CH2OH"))
    assert smooth.uncertainties.max() < 2.0
    assert smooth.remarks() == []
    assert kinked.uncertainties.max() > 50.0
    assert "forces are not linear over 0.01 angstrom" in kinked.remarks()[-1]


def eclipsed_ethane() -> ase.Atoms:
    atoms = ase.build.molecule("C2H6")
    below = np.flatnonzero(atoms.positions[:, 2] < 0)
    turned = atoms[below]
    turned.rotate(60, "z")
    atoms.positions[below] = turned.positions
    return atoms


def test_the_way_off_a_saddle_is_where_the_remark_says(model, tmp_path) -> None:
    saddle = frequencies(model, eclipsed_ethane())
    assert len(saddle.imaginary) == 1
    assert f"{saddle.imaginary[0]:.0f}i cm^-1" in saddle.remarks()[0]
    with pytest.raises(ValueError, match=r"that of a minimum: .*i cm\^-1 imaginary"):
        saddle.thermochemistry()
    saddle.write(tmp_path)
    below = frequencies(model, ase.io.read(tmp_path / "mode-001.xyz", index=0))
    assert len(below.imaginary) == 0
    assert below.energy < saddle.energy - 0.05


def test_animations_begin_where_the_displacement_is_largest(model, tmp_path) -> None:
    water = frequencies(model, ase.build.molecule("H2O"))
    water.write(tmp_path / "modes")
    files = sorted(file.name for file in (tmp_path / "modes").iterdir())
    assert files == ["geometry.xyz", "mode-001.xyz", "mode-002.xyz", "mode-003.xyz"]
    for mode, name in enumerate(files[1:]):
        frames = ase.io.read(tmp_path / "modes" / name, ":")
        moves = np.array([each.positions - water.atoms.positions for each in frames])
        sizes = np.linalg.norm(moves, axis=2).max(1)
        assert sizes[0] == pytest.approx(0.3, abs=1e-6)
        assert sizes.max() < 0.3 + 1e-6
        along = moves[0] / np.linalg.norm(moves[0])
        assert along == pytest.approx(water.modes[mode], abs=1e-6)
        assert frames[0].info["wavenumber_per_cm"] == pytest.approx(water.wavenumbers[mode])
    with pytest.raises(FileExistsError, match="modes is there already"):
        water.write(tmp_path / "modes")


@pytest.mark.parametrize(
    ("atoms", "wavenumbers", "symmetry", "unpaired", "entropy"),
    [  # CODATA key values, J/(mol K) at 298.15 K and 1 bar
        (ase.Atoms("Ar"), [], 1, 0, 154.846),
        (ase.Atoms("O2", [[0, 0, 0], [0, 0, 1.2075]]), [1580.0], 2, 2, 205.152),
        (ase.Atoms("OCO", [[0, 0, -1.162], [0, 0, 0], [0, 0, 1.162]]),
         [667.0, 667.0, 1333.0, 2349.0], 2, 0, 213.785),
        (ase.Atoms("OHH", [[0, 0, 0], [0, 0.757, 0.587], [0, -0.757, 0.587]]),
         [1595.0, 3657.0, 3756.0], 2, 0, 188.835),
    ],
    ids=["argon", "oxygen", "carbon dioxide", "water"],
)  # fmt: skip
def test_entropies_are_the_measured_ones(atoms, wavenumbers, symmetry, unpaired, entropy) -> None:
    count = len(wavenumbers)
    modes = np.zeros((count, len(atoms), 3))
    gas = Frequencies(
        atoms, -5.0, 0.0, np.array(wavenumbers), np.zeros(count), modes, 0.01
    ).thermochemistry(symmetry_number=symmetry, unpaired=unpaired)
    assert gas.entropy_ev_per_K / JOULE_PER_MOL == pytest.approx(entropy, abs=0.3)
    assert gas.enthalpy_ev == pytest.approx(gas.internal_energy_ev + KB * 298.15)
    assert gas.gibbs_ev == pytest.approx(gas.enthalpy_ev - 298.15 * gas.entropy_ev_per_K)
    assert gas.zero_point_ev == pytest.approx(sum(wavenumbers) * 1.239841984e-4 / 2)


def test_an_atom_has_no_vibrations(model) -> None:
    found = frequencies(model, ase.Atoms("H"))
    assert (found.shape, len(found.wavenumbers), found.remarks()) == ("monatomic", 0, [])
    assert found.thermochemistry().zero_point_ev == 0.0


def test_isotopes_count_and_constraints_do_not(model) -> None:
    atoms = ase.build.molecule("H2CO")
    light = frequencies(model, atoms)
    atoms.set_constraint(ase.constraints.FixAtoms([0, 1]))
    held = frequencies(model, atoms)
    assert held.wavenumbers == pytest.approx(light.wavenumbers, abs=0.1)
    atoms.set_masses([12.011, 15.999, 2.014, 2.014])
    heavy = frequencies(model, atoms)
    assert heavy.wavenumbers[-1] / light.wavenumbers[-1] == pytest.approx(0.74, abs=0.02)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda atoms: None, {"steps": 3}, "did not relax in 3 steps.*allow more steps"),
        (lambda atoms: atoms.set_atomic_numbers([14, *atoms.numbers[1:]]), {}, "does not know Si"),
        (lambda atoms: atoms.set_pbc([True, False, False]), {}, "is periodic.*phonopy"),
        (lambda atoms: atoms.set_masses([0.0, *atoms.get_masses()[1:]]), {}, "without a mass"),
        (lambda atoms: atoms.__delitem__(slice(None)), {}, "no atoms"),
        (lambda atoms: None, {"step": 0.0}, "a step of 0 angstrom"),
        (lambda atoms: None, {"step": float("nan")}, "a step of nan angstrom"),
        (lambda atoms: None, {"fmax": float("nan")}, "a largest force of nan"),
    ],
)
def test_what_cannot_be_done_is_an_error(change, settings, message, model) -> None:
    atoms = ase.build.molecule("CH3CH2OH")
    change(atoms)
    with pytest.raises(ValueError, match=message):
        frequencies(model, atoms, **settings)


def test_a_charge_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"charge of \+1 e"):
        told("idle-s", "[NH4+]", "--json")


def test_single_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="finite differences need double precision"):
        frequencies(idle_md.load("idle-s"), ase.build.molecule("H2O"))


def test_a_geometry_that_is_left_as_it_is_says_so(model) -> None:
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.02)
    found = frequencies(model, atoms, relax=False)
    assert np.array_equal(found.atoms.positions, atoms.positions)
    assert "no stationary point" in found.remarks()[0]
    with pytest.raises(ValueError, match="no stationary point"):
        found.thermochemistry()


@pytest.mark.usefixtures("ops")
def test_fifty_atoms_take_seconds(model) -> None:
    """2.5 s of one core were measured."""
    hexadecane = start_of(from_smiles(["C" * 16])[0], seed=0)
    assert len(hexadecane) == 50
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    before = time.process_time()
    frequencies(model, hexadecane)
    seconds = time.process_time() - before
    torch.set_num_threads(threads)
    assert seconds < 5.0


def told(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["freq", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_command_takes_files_and_smiles_and_prints_json(tmp_path) -> None:
    ase.io.write(tmp_path / "water.xyz", ase.build.molecule("H2O"))
    gas = ("--symmetry-number", 2, "--temperature", 400, "--pressure", 2)
    by_file, by_smiles = (
        json.loads(told("idle-s", start, "--json", *gas)) for start in (tmp_path / "water.xyz", "O")
    )
    assert by_file["wavenumbers_per_cm"] == pytest.approx(by_smiles["wavenumbers_per_cm"], abs=1.0)
    wanted = frequencies("idle-s", ase.build.molecule("H2O"))
    assert by_file["energy_ev"] == pytest.approx(wanted.energy, abs=1e-6)
    assert by_file["thermochemistry"]["gibbs_ev"] == pytest.approx(
        wanted.thermochemistry(400, 2, 2).gibbs_ev, abs=1e-5
    )


def test_command_prints_a_table_and_writes_modes(tmp_path) -> None:
    out = tmp_path / "my modes"
    text = told("idle-s", "CCO", "--out", out)
    assert "Ideal gas at 298.15 K and 1 bar" in text
    assert f"next: idle-md md idle-s '{out}/geometry.xyz'" in text
    assert len(list(out.iterdir())) == 22
    result = CliRunner().invoke(app, ["freq", "idle-s", "CCO", "--out", str(out)])
    assert "is there already" in str(result.exception)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("absent.xyz", "no structure at absent.xyz, and it is no SMILES"),
        ("a folder", "no structure at a folder"),
        ("broken.xyz", "broken.xyz cannot be read as a structure"),
    ],
)
def test_command_names_a_structure_that_is_none(structure, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a folder").mkdir()
    (tmp_path / "broken.xyz").write_text("3\n\nH 0 0\n")
    result = CliRunner().invoke(app, ["freq", "idle-s", structure])
    assert message in str(result.exception)
