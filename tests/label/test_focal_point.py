"""The composite coupled-cluster level against its parts, calculated one by one."""

import ase
import ase.build
import numpy as np
import pytest
from ase.units import Hartree
from pyscf import cc, gto, mp, scf
from pyscf.mp.dfmp2 import DFMP2

from idle_md.label.calculation import calculate
from idle_md.label.levels import fidelity_name, find_level
from idle_md.label.programs.base import LabelError
from idle_md.label.programs.focal_point import extrapolated, second_order
from idle_md.label.programs.pyscf import converged

NAME = "fp-ccsd(t)/cc-pvtz"


def _field(atoms: ase.Atoms, basis: str) -> scf.hf.RHF:
    lines = zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)
    field = scf.RHF(gto.M(atom=list(lines), basis=basis, verbose=0))
    field.conv_tol, field.conv_tol_grad = 1e-11, 1e-7
    return field


@pytest.mark.parametrize(("formula", "core"), [("H2O", 1), ("HCN", 2)])
def test_energy_is_that_of_its_parts(formula, core) -> None:
    atoms = ase.build.molecule(formula)
    atoms.positions += 0.1 * np.random.default_rng(0).standard_normal(atoms.positions.shape)
    found = calculate(find_level(NAME), atoms)
    assert found.forces is None

    small = _field(atoms, "cc-pvdz").run()
    second_small = mp.MP2(small, frozen=core).run().e_corr
    cluster = cc.CCSD(small, frozen=core).run()
    large = _field(atoms, "cc-pvtz").density_fit(auxbasis="cc-pvtz-jkfit").run()
    fitted = DFMP2(large, frozen=core)
    fitted.with_df = fitted.with_df.copy().reset()
    fitted.with_df.auxbasis = "cc-pvtz-ri"
    second_large = fitted.run().e_corr
    limit = second_large + (second_large - second_small) * 8 / 19
    expected = large.e_tot + limit + cluster.e_corr + cluster.ccsd_t() - second_small
    assert found.energy == pytest.approx(expected * Hartree, abs=2e-6)  # CCSD to 1e-7 hartree


def test_what_density_fitting_costs() -> None:
    """Less than 2 meV of the energy of water, and much less of energies relative to another."""
    water = ase.build.molecule("H2O")
    errors = []
    for stretch in (1.0, 1.1):
        water.positions *= stretch
        field = _field(water, "cc-pvtz").run()
        exact = field.e_tot + mp.MP2(field, frozen=1).run().e_corr
        fitted = converged(_field(water, "cc-pvtz").density_fit())
        errors.append((fitted.e_tot + second_order(fitted) - exact) * Hartree)
    assert abs(errors[0]) < 2e-3
    assert abs(errors[1] - errors[0]) < 5e-4


def test_errors_of_the_third_power_are_extrapolated_away() -> None:
    assert extrapolated(-1.0 + 0.4 / 8, -1.0 + 0.4 / 27) == pytest.approx(-1.0, abs=1e-14)


def test_isolated_atoms_bind() -> None:
    level = find_level(NAME.upper())
    oxygen = level.calculate(ase.Atoms("O"), 0, 2).energy
    hydrogen = level.calculate(ase.Atoms("H"), 0, 1).energy
    bound = calculate(level, ase.build.molecule("H2O")).energy
    assert oxygen + 2 * hydrogen - bound == pytest.approx(10.1, abs=0.15)  # eV, by experiment
    assert hydrogen == pytest.approx(-Hartree / 2, abs=0.01)


def test_what_it_is_called() -> None:
    assert fidelity_name(NAME) == "fp-ccsdt_cc-pvtz"
    assert find_level(NAME).theory.title == "FP-CCSD(T)/cc-pvtz"


def test_what_gives_no_label() -> None:
    with pytest.raises(LabelError, match="odd number of electrons, 9"):
        calculate(find_level(NAME), ase.build.molecule("OH"))
    with pytest.raises(LabelError, match=r"[Bb]asis"):
        calculate(find_level(NAME), ase.Atoms("Rn"))
