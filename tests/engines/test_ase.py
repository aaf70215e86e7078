from dataclasses import replace

import ase.build
import ase.db
import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

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


@pytest.mark.parametrize("kernels", ["native", "portable"])
@pytest.mark.parametrize("structure", [skewed, small])
def test_stresses_of_atoms_add_up(structure, kernels, model_file, committee_file) -> None:
    for path in (model_file(), committee_file()):
        atoms = structure()
        atoms.calc = idle_md.Calculator(path, kernels=kernels)
        stresses = atoms.get_stresses()
        assert stresses.shape == (len(atoms), 6)
        np.testing.assert_allclose(stresses.sum(0), atoms.get_stress(), rtol=0, atol=1e-12)


def test_stresses_of_atoms_are_those_of_lammps(model_file, tmp_path) -> None:
    from idle_md.engines.lammps.input import read_dump
    from idle_md.engines.lammps.process import why_not
    from idle_md.engines.lammps.single_point import BAR, evaluate_lammps

    if why_not() is not None:
        pytest.skip(str(why_not()))
    atoms = small()
    atoms.calc = idle_md.Calculator(model_file())
    columns = " ".join(f"c_s[{k}]" for k in (1, 2, 3, 6, 5, 4))
    dump = f'dump s all custom 1 "{tmp_path / "s"}" id {columns}'
    before = [
        "compute s all stress/atom NULL virial",
        dump,
        "dump_modify s sort id format float %.17g",
    ]
    evaluate_lammps(model_file(), atoms, before=before)
    wanted = read_dump(tmp_path / "s")[:, 1:] * BAR / atoms.get_volume()
    np.testing.assert_allclose(atoms.get_stresses(), wanted, rtol=0, atol=1e-9)


def test_what_keeps_a_slab_from_stress_is_told_and_helps(model_file) -> None:
    atoms = slab()
    atoms.calc = idle_md.Calculator(model_file())
    energy = atoms.get_potential_energy()
    for asked in (atoms.get_stress, atoms.get_stresses):
        with pytest.raises(
            PropertyNotImplementedError, match="a vacuum longer than the cutoff of 4"
        ):
            asked()
    atoms.center(vacuum=4.1, axis=int(np.flatnonzero(~atoms.pbc)[0]))
    atoms.pbc = True
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    assert np.isfinite(atoms.get_stress()).all()


def test_results_keep_the_rules_of_ase(model_file, committee_file, tmp_path) -> None:
    for path in (model_file(), committee_file()):
        atoms = skewed()
        atoms.calc = idle_md.Calculator(path)
        energy = atoms.get_potential_energy()
        atoms.get_stresses()
        assert set(atoms.calc.results) <= set(all_properties)
        assert set(atoms.calc.implemented_properties) <= set(all_properties)
        assert atoms.calc.export_properties()["energy"] == energy
        kept = atoms.copy()
        kept.calc = SinglePointCalculator(kept, **atoms.calc.results)
        np.testing.assert_array_equal(kept.get_stresses(), atoms.get_stresses())
        ase.db.connect(tmp_path / f"{path.stem}.db").write(atoms)
        assert ase.db.connect(tmp_path / f"{path.stem}.db").get(1).energy == energy


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_cells_that_cannot_hold_the_atoms_are_errors(kernels, model_file) -> None:
    calculator = idle_md.Calculator(model_file(), kernels=kernels)
    calculator.calculate(skewed())
    for factor, message in ((0.01, r"is flat, .* angstrom"), (0.25, r"has a volume of .* atoms")):
        atoms = skewed()
        atoms.set_cell(factor * atoms.cell.array)
        with pytest.raises(ValueError, match=message):
            calculator.calculate(atoms)
    calculator.calculate(skewed())
