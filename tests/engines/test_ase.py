from dataclasses import replace

import ase.build
import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.lj import LennardJones

import idle_md
from idle_md import deploy
from idle_md.deploy import load
from idle_md.engines.parity.structures import skewed, slab, small


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


def test_stress_needs_three_periodic_directions(model_file) -> None:
    atoms = slab()
    atoms.calc = idle_md.Calculator(model_file())
    atoms.get_forces()
    assert "stress" not in atoms.calc.results
    with pytest.raises(PropertyNotImplementedError, match=r"pbc is \[True, True, False\]"):
        atoms.get_stress()
    atoms.pbc = True
    assert atoms.get_stress().shape == (6,)


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_kept_neighbours_change_no_number(kernels, model_file) -> None:
    """Along a trajectory, under strain, and in another structure of the same size."""
    model = load(model_file(), kernels=kernels)
    atoms, rng = small(), np.random.default_rng(0)
    kept = atoms.calc = idle_md.Calculator(model)

    def check() -> None:
        fresh = atoms.copy()
        fresh.calc = idle_md.Calculator(model)
        assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), rtol=0, atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(), fresh.get_stress(), rtol=0, atol=1e-10)

    velocities = rng.normal(scale=0.02, size=(len(atoms), 3))
    for _ in range(20):
        atoms.positions += velocities
        check()
    assert 1 < kept.neighbors.searches < 10
    searches = kept.neighbors.searches
    atoms.set_cell(atoms.cell * 1.01)
    check()
    atoms.pbc = True
    atoms.numbers = atoms.numbers[::-1]
    check()
    assert kept.neighbors.searches == searches + 1
    atoms.positions[0] += atoms.cell[1] * 3  # the same atom, elsewhere
    check()
    del atoms[5]
    check()
    assert kept.neighbors.searches == searches + 3


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_broken_structures_are_errors_also_after_good_ones(kernels, model_file) -> None:
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.calc = idle_md.Calculator(model_file(), kernels=kernels)
    energy = atoms.get_potential_energy()
    positions = atoms.positions.copy()
    atoms.positions[3] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        atoms.get_potential_energy()
    atoms.positions[3] = 1e6
    with pytest.raises(ValueError, match="flown apart"):
        atoms.get_potential_energy()
    atoms.positions = positions
    atoms.pbc = True
    with pytest.raises(ValueError, match="no volume"):
        atoms.get_potential_energy()
    atoms.pbc = False
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-12)


def test_low_level_adds_its_stress_where_it_is_asked_for(make_potential, tmp_path) -> None:
    potential, path = make_potential(), tmp_path / "delta.pt"
    described = deploy.describe(potential, "high", delta_on="gfn2")
    deploy.save(deploy.extract(potential, "high"), path, described)
    atoms = skewed()
    atoms.calc = LennardJones(rc=4.0)
    low = atoms.get_stress()
    own = idle_md.predict(_alone(load(path)), [atoms])[0].stress
    atoms.calc = idle_md.Calculator(path, low_level=LennardJones(rc=4.0))
    atoms.get_forces()
    assert "stress" not in atoms.calc.results
    np.testing.assert_allclose(atoms.get_stress(), own + low, rtol=0, atol=1e-10)
    with pytest.raises(PropertyNotImplementedError, match="where a low level is added"):
        atoms.get_potential_energies()


def _alone(model: deploy.DeployedModel) -> deploy.DeployedModel:
    return replace(model, metadata=model.metadata.model_copy(update={"delta_on": None}))


def test_package_has_no_other_lazy_names() -> None:
    with pytest.raises(AttributeError, match="Calcualtor"):
        idle_md.Calcualtor  # noqa: B018
