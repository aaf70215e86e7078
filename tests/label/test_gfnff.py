"""GFN-FF: labels are functions of the geometry alone, dynamics keeps the bonds of its start."""

import ase
import ase.build
import numpy as np
import pytest
from gfnff import GFNFF
from scipy.spatial.transform import Rotation

from idle_md.label.calculation import calculate
from idle_md.label.calculator import LevelCalculator
from idle_md.label.levels import find_level
from idle_md.label.programs import gfnff as adapter
from idle_md.label.programs.base import LabelError
from idle_md.label.sampling import Molecule, SampleConfig
from idle_md.label.sampling.dynamics import dynamics
from idle_md.label.sampling.normal_modes import thermal_modes
from idle_md.label.sampling.recipe import sample_molecule


@pytest.fixture
def acetamide() -> ase.Atoms:
    atoms = ase.build.molecule("CH3CONH2")
    atoms.positions += 0.05 * np.random.default_rng(0).standard_normal(atoms.positions.shape)
    return atoms


@pytest.mark.parametrize(("formula", "charge"), [("CH3CONH2", 0), ("C6H6", 2), ("SiH4", 0)])
def test_energy_and_forces_of_the_library(formula, charge) -> None:
    atoms = ase.build.molecule(formula)
    found = calculate(find_level("gfnff"), atoms, charge)
    atoms.calc = GFNFF(charge=charge)
    assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-6)


@pytest.mark.parametrize("keeps", [False, True], ids=["labels", "dynamics"])
def test_forces_are_exact(acetamide, keeps) -> None:
    level, step = find_level("gfnff"), 1e-3
    if keeps:
        level = level.keeping_bonds(ase.build.molecule("CH3CONH2"), 0)
    forces = calculate(level, acetamide).forces
    assert np.abs(forces.sum(axis=0)).max() < 1e-6
    for atom, axis in ((0, 0), (2, 1), (8, 2)):
        energies = []
        for shift in (step, -step):
            moved = acetamide.copy()
            moved.positions[atom, axis] += shift
            energies.append(calculate(level, moved).energy)
        slope = (energies[1] - energies[0]) / (2 * step)
        assert forces[atom, axis] == pytest.approx(slope, abs=5e-5)


def test_energy_and_forces_turn_with_the_molecule(acetamide) -> None:
    turn = Rotation.random(rng=np.random.default_rng(3))
    turned = acetamide.copy()
    turned.positions = turn.apply(acetamide.positions) + np.array([1.0, -20.0, 300.0])
    level = find_level("gfnff")
    one, other = calculate(level, acetamide), calculate(level, turned)
    assert other.energy == pytest.approx(one.energy, abs=1e-6)
    np.testing.assert_allclose(other.forces, turn.apply(one.forces), atol=1e-5)


def test_a_label_knows_nothing_of_the_one_before() -> None:
    near, far = (ase.Atoms("N2", [[0, 0, 0], [0, 0, z]]) for z in (1.1, 2.4))
    level = find_level("gfnff")
    alone = calculate(find_level("gfnff"), far).energy
    kept = level.keeping_bonds(near, 0)
    bound = calculate(level, near).energy
    assert calculate(level, far).energy == alone
    assert calculate(kept, near).energy == pytest.approx(bound, abs=1e-9)
    assert calculate(kept, far).energy < alone - 0.1  # no bond is found at this distance
    with pytest.raises(LabelError, match="that of other atoms"):
        calculate(kept, ase.build.molecule("CO"))


def test_dynamics_and_modes_find_bonds_once(monkeypatch) -> None:
    found = []

    def counted(numbers, positions, **settings):
        found.append(len(numbers))
        return real(numbers, positions, **settings)

    real = adapter.GFNFFCalculator
    monkeypatch.setattr(adapter, "GFNFFCalculator", counted)
    calculator, water = LevelCalculator(find_level("gfnff")), ase.build.molecule("H2O")
    stream = dynamics([water], calculator, [300.0], 1.0, 5.0, np.random.default_rng(0))
    assert len({next(stream).get_distance(0, 1) for _ in range(4)}) == 4
    assert found == [3]
    thermal_modes(water, calculator)
    assert found == [3, 3]


def test_sampling() -> None:
    molecule = Molecule("thiophosphate", "COP(=S)(O)OC")
    config = SampleConfig(frames=12, level="gfnff", temperatures=[300.0])
    one = sample_molecule(molecule, molecule, config)
    again = sample_molecule(molecule, molecule, config)
    np.testing.assert_array_equal(one.positions, again.positions)
    assert np.unique(one.info["sampling"]).tolist() == ["md", "modes", "start", "torsions"]
    relaxed = calculate(find_level("gfnff"), one.atoms(0))
    assert np.linalg.norm(relaxed.forces, axis=1).max() < 0.06  # eV/angstrom, to 0.05 but the grid
    hot = [calculate(find_level("gfnff"), one.atoms(k)).energy for k in range(1, 12)]
    assert min(hot) > relaxed.energy
