"""Radicals and triplets are labelled as they are, or refused by name."""

import ase.build
import numpy as np
import pytest
from ase.units import Bohr
from pyscf import dft, gto, scf
from tblite.interface import Calculator
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.data import Store, from_atoms, save
from idle_md.data.states import unpaired_of
from idle_md.label.calculation import calculate
from idle_md.label.labelling import label
from idle_md.label.levels import find_level
from idle_md.label.programs.base import LabelError
from idle_md.label.sampling.molecule import from_file, from_smiles
from idle_md.units import HARTREE

OPEN = {"CH3": 1, "OH": 1, "O2": 2}


def gfn2(name: str, unpaired: int) -> float:
    atoms = ase.build.molecule(name)
    calculator = Calculator("GFN2-xTB", atoms.numbers, atoms.positions / Bohr, uhf=unpaired)
    calculator.set("verbosity", 0)
    return float(calculator.singlepoint().get("energy")) * HARTREE


def unrestricted(name: str, method: str) -> float:
    atoms = ase.build.molecule(name)
    geometry = list(zip(atoms.symbols, atoms.positions.tolist(), strict=True))
    molecule = gto.M(atom=geometry, basis="sto-3g", spin=OPEN[name], verbose=0)
    field = scf.UHF(molecule) if method == "hf" else dft.UKS(molecule, xc=method).density_fit()
    return float(field.run(conv_tol=1e-10).e_tot) * HARTREE


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("method", ["hf", "pbe"])
def test_pyscf_is_unrestricted(name, method) -> None:
    level = find_level(f"{method}/sto-3g")
    found = calculate(level, ase.build.molecule(name), 0, OPEN[name])
    assert found.energy == pytest.approx(unrestricted(name, method), abs=1e-6)
    assert np.abs(found.forces.sum(axis=0)).max() < 1e-3


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("level", ["gfn2", "pm7", "hf/sto-3g", "mp2/sto-3g"])
def test_forces_are_those_of_the_state(name, level) -> None:
    atoms, program = ase.build.molecule(name), find_level(level)
    step, energies = 5e-3, []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[-1, 2] += sign * step
        energies.append(calculate(program, moved, 0, OPEN[name]).energy)
    force = calculate(program, atoms, 0, OPEN[name]).forces[-1, 2]
    assert force == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=2e-2)


def test_declared_spins_are_labelled_and_stay_apart(tmp_path) -> None:
    frames = [ase.build.molecule(name) for name in ("CH3", "O2", "O2", "H2O")]
    for atoms, multiplicity in zip(frames, (2, 3, 1, 1), strict=True):
        atoms.info["multiplicity"] = multiplicity
    path = tmp_path / "set.h5"
    save(from_atoms(frames, ["CH3", "O2", "singlet", "H2O"]), path)
    with pytest.raises(
        ValueError, match=r"GFN-FF is of closed shells alone, and 2 geo.* 0 \(CH3\)"
    ):
        label(path, "gfnff", jobs=1)
    assert label(path, "gfn2", jobs=1).labelled == 4
    energies = Store.read(path).labels["gfn2"].energy
    expected = [gfn2("CH3", 1), gfn2("O2", 2), gfn2("O2", 0), gfn2("H2O", 0)]
    np.testing.assert_allclose(energies, expected, atol=1e-5)
    assert abs(energies[1] - energies[2]) > 0.05


def test_spin_of_the_command_is_kept_and_checked(tmp_path) -> None:
    save(from_atoms([ase.build.molecule("OH")], ["OH"]), tmp_path / "oh.xyz")
    path = tmp_path / "oh.h5"
    command = ["label", str(tmp_path / "oh.xyz"), "--level", "gfn2", "--jobs", "1"]
    without = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert "number of electrons, #, with # unpaired" in without.output
    assert "by --spin and --retry-failed" in without.output
    done = CliRunner().invoke(app, [*command, "--spin", "1", "--retry-failed"])
    assert done.exit_code == 0, done.output
    store = Store.read(path)
    assert unpaired_of(store).tolist() == [1]
    assert store.labels["gfn2"].energy[0] == pytest.approx(gfn2("OH", 1), abs=1e-5)
    with pytest.raises(ValueError, match=r"geometry 0 \(OH\) has labels with 1 unpaired electrons"):
        label(path, "pm7", spin=3)
    with pytest.raises(ValueError, match="sampling knows closed shells alone"):
        from_file(path)


def test_spins_that_cannot_be_are_refused(tmp_path) -> None:
    path = tmp_path / "set.h5"
    save(from_atoms([ase.build.molecule("H2O")], ["H2O"]), path)
    with pytest.raises(ValueError, match=r"geometry 0 \(H2O\): unpaired=1\.0 is no spin of 10 el"):
        label(path, "gfn2", spin=1)
    assert "unpaired" not in Store.read(path).info
    with pytest.raises(LabelError, match="even number of electrons, 10, with 3 unpaired"):
        calculate(find_level("gfn2"), ase.build.molecule("H2O"), 0, 3)


@pytest.mark.parametrize(("smiles", "number"), [("[CH3]", 1), ("[O][O]", 2), ("C[CH2]", 1)])
def test_smiles_of_radicals_are_not_sampled(smiles, number) -> None:
    with pytest.raises(ValueError, match=f"has {number} unpaired electrons, and sampling knows"):
        from_smiles([smiles])
