"""A committee in ASE and OpenMM: the mean drives, the spread can be asked for."""

import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError

import idle_md
from idle_md.deploy import load
from idle_md.engines.openmm.engine import OpenMMEngine


def test_openmm_runs_the_mean(committee_file, model_file, backend) -> None:
    path = committee_file()
    atoms = ase.build.molecule("CH3CH2OH")
    [found] = OpenMMEngine(backend).evaluator(path)([atoms])
    system = atoms.numbers, atoms.positions
    alone = [load(model_file(seed=k)).evaluate(*system) for k in range(3)]
    assert found.energy == pytest.approx(np.mean([e for e, _ in alone]), abs=1e-8)
    np.testing.assert_allclose(found.forces, np.mean([f for _, f in alone], 0), atol=1e-8)


@pytest.fixture
def ethanol(committee_file) -> ase.Atoms:
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.calc = idle_md.Calculator(committee_file())
    return atoms


def test_calculator_gives_the_standard_deviation_of_the_members(ethanol, model_file) -> None:
    alone = [
        load(model_file(seed=k)).evaluate(ethanol.numbers, ethanol.positions) for k in range(3)
    ]
    energies, forces = np.array([e for e, _ in alone]), np.array([f for _, f in alone])
    assert ethanol.get_potential_energy() == pytest.approx(energies.mean(), abs=1e-9)
    results = ethanol.calc.results
    np.testing.assert_allclose(results["forces"], forces.mean(0), atol=1e-9)
    spread = ethanol.calc.spread
    assert isinstance(spread["energy_std"], float)
    assert spread["energy_std"] == pytest.approx(np.std(energies, ddof=1), abs=1e-8)
    np.testing.assert_allclose(spread["forces_std"], np.std(forces, 0, ddof=1), atol=1e-9)


def test_spread_follows_the_positions_and_can_be_asked_for_first(ethanol) -> None:
    first = ethanol.calc.get_property("forces_std", ethanol)
    assert first.shape == (9, 3)
    ethanol.positions[0] += 0.1
    assert np.abs(ethanol.calc.get_property("forces_std", ethanol) - first).max() > 1e-4


@pytest.mark.parametrize("suffix", ["xyz", "traj"])
def test_structures_with_a_spread_can_be_written(ethanol, tmp_path, suffix) -> None:
    forces = ethanol.get_forces()
    ase.io.write(tmp_path / f"ethanol.{suffix}", ethanol)  # ASE keeps its own properties alone
    read = ase.io.read(tmp_path / f"ethanol.{suffix}")
    np.testing.assert_allclose(read.get_forces(), forces, atol=1e-7)


@pytest.mark.parametrize("name", ["energy_std", "forces_std"])
def test_single_model_has_no_spread(model_file, name) -> None:
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.calc = idle_md.Calculator(model_file())
    assert set(atoms.calc.implemented_properties) == {
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "stresses",
    }
    atoms.get_forces()
    assert name not in atoms.calc.results
    with pytest.raises(ValueError, match="the model is no committee, so it has no spread"):
        atoms.calc.get_property(name, atoms)
    with pytest.raises(PropertyNotImplementedError):
        atoms.calc.get_property("stress", atoms)
