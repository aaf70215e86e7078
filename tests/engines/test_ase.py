import ase.build
import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces

import idle_md
from idle_md.deploy import load
from idle_md.testing import Invariants, Subject, calculator_evaluator


class TestCalculator(Invariants):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, model_file) -> Subject:
        path = model_file()
        metadata = load(path).metadata
        evaluate = calculator_evaluator(idle_md.Calculator(path))
        return Subject(evaluate, metadata.elements, metadata.cutoff_angstrom)


@pytest.fixture
def ethanol(model_file) -> ase.Atoms:
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.calc = idle_md.Calculator(load(model_file()))
    return atoms


def test_atoms_have_energy_and_forces(ethanol) -> None:
    energy = ethanol.get_potential_energy()
    assert ethanol.get_potential_energy(force_consistent=True) == energy
    numerical = calculate_numerical_forces(ethanol, eps=1e-4, iatoms=[0, 5])
    np.testing.assert_allclose(ethanol.get_forces()[[0, 5]], numerical, atol=1e-6)


def test_results_follow_positions_and_cell(ethanol) -> None:
    first = ethanol.get_potential_energy()
    ethanol.positions[0] += 0.1
    second = ethanol.get_potential_energy()
    ethanol.set_cell([4.0, 5.0, 6.0])
    ethanol.pbc = True
    third = ethanol.get_potential_energy()
    assert len({first, second, third}) == 3


def test_slab_is_periodic_along_its_directions_only(ethanol) -> None:
    ethanol.set_cell([5.0, 6.0, 40.0])
    ethanol.pbc = (True, True, False)
    slab = ethanol.get_potential_energy()
    ethanol.pbc = True
    assert ethanol.get_potential_energy() == pytest.approx(slab, abs=1e-9)
    ethanol.pbc = False
    assert abs(ethanol.get_potential_energy() - slab) > 1e-3


def test_unknown_element_is_named(model_file) -> None:
    atoms = ase.build.molecule("CH3Cl")
    atoms.calc = idle_md.Calculator(model_file())
    with pytest.raises(ValueError, match=r"does not know Cl \(atom 1\): .* H, C, N, O"):
        atoms.get_potential_energy()


def test_package_has_no_other_lazy_names() -> None:
    with pytest.raises(AttributeError, match="Calcualtor"):
        idle_md.Calcualtor  # noqa: B018
