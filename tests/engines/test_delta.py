"""Explicit delta learning: the model is added to a live low level, in ASE alone."""

import sys

import ase
import ase.build
import numpy as np
import pytest
from ase.calculators.lj import LennardJones

from idle_md import Calculator, deploy
from idle_md.data import load
from idle_md.engines.openmm import create_force
from idle_md.label.calculator import live_calculator


@pytest.fixture
def difference(make_potential, tmp_path) -> str:
    """A random model that says it is the difference to gfn2."""
    potential = make_potential()
    described = deploy.describe(potential, "high", delta_on="gfn2")
    deploy.save(deploy.extract(potential, "high"), tmp_path / "delta.pt", described)
    return str(tmp_path / "delta.pt")


def test_live_gfn2_is_the_level_of_the_labels() -> None:
    pytest.importorskip("tblite")
    store = load("chno-mini")
    index = int(np.flatnonzero(store.group == "urea")[0])
    atoms = store.atoms(index)
    atoms.calc = live_calculator("gfn2")
    labels = store.select([index]).labels_of("gfn2")
    assert atoms.get_potential_energy() == pytest.approx(labels.energy[0], abs=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), labels.forces, atol=1e-3)  # SCF accuracy


def test_calculator_adds_the_low_level(difference) -> None:
    atoms = ase.build.molecule("CH3OH")
    model, low = deploy.load(difference), LennardJones()
    energy, forces = model.evaluate(atoms.numbers, atoms.positions)
    atoms.calc = Calculator(difference, low_level=low)
    found = atoms.get_potential_energy(), atoms.get_forces()
    assert atoms.calc.results["free_energy"] == found[0]
    atoms.calc = LennardJones()
    assert found[0] == pytest.approx(energy + atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found[1], forces + atoms.get_forces(), atol=1e-9)


def test_openmm_refuses_and_says_what_to_do(difference) -> None:
    with pytest.raises(ValueError, match=r"live gfn2 calculation.*method: idle"):
        create_force(difference, [6, 1, 1, 1, 1])


def test_missing_program_is_named(difference, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    with pytest.raises(ModuleNotFoundError, match="tblite is not installed: pip install tblite"):
        Calculator(difference)
    with pytest.raises(ValueError, match="cannot calculate 'b3lyp' live: known are gfn1, gfn2"):
        live_calculator("b3lyp")
