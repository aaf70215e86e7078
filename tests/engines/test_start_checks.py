"""Starts of molecular dynamics that cannot be good."""

import warnings

import ase.build
import numpy as np
import pytest

from idle_md.deploy import load
from idle_md.engines.start_checks import check_start

WATER = ase.build.molecule("H2O")


@pytest.fixture(scope="module")
def model(model_file):
    return load(model_file())


def check(model, structure, **settings) -> None:
    cell = structure.cell.array if structure.pbc.all() else None
    check_start(model, structure.numbers, structure.positions, cell, **settings)


def test_good_starts_pass_without_a_word(model) -> None:
    tiny = ase.Atoms("C", cell=[[1.5, 0, 0], [0.5, 1.5, 0], [0.0, -0.5, 1.5]], pbc=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for atoms in (WATER, ase.Atoms("H"), ase.build.molecule("CH3CH2OH"), tiny):
            check(model, atoms, charge=0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_no_numbers_name_their_atoms(model, value) -> None:
    atoms = WATER.copy()
    atoms.positions[[0, 2], 1] = value
    with pytest.raises(ValueError, match=r"positions that are not numbers: atoms 0, 2; take"):
        check(model, atoms)
    with pytest.raises(ValueError, match=r"positions have shape \(3, 2\): 3 atoms need"):
        check_start(model, WATER.numbers, WATER.positions[:, :2])


def test_overlapping_atoms_are_named_with_their_distance(model) -> None:
    moved = WATER.copy()
    moved.positions += [0.1, 0, 0]
    message = r"atoms overlap \(0 and 3, 0\.1 angstrom; 1 and 4, 0\.1 angstrom; .*remove"
    with pytest.raises(ValueError, match=message):
        check(model, WATER + moved)
    close = ase.Atoms("CH", [[0, 0, 0], [0, 0, 0.4]])
    with pytest.warns(UserWarning, match=r"very close \(0 and 1, 0\.4 angstrom\): relax"):
        check(model, close)


def test_images_overlap_too(model) -> None:
    across = ase.Atoms("CH", [[0.05, 1, 1], [4.95, 1, 1]], cell=[5.0, 5.0, 5.0], pbc=True)
    with pytest.raises(ValueError, match=r"overlap \(0 and an image of 1, 0\.1 angstrom\)"):
        check(model, across)
    across.pbc = False
    check(model, across)


@pytest.mark.parametrize(
    "cell",
    [
        [[5, 0, 0], [0, 5, 0], [0, 0, 0]],
        [[5, 0, 0], [5, 0, 0], [0, 0, 5]],
        [[5, 0, 0], [0, 5, 0], [2, 2, 0.01]],
        np.zeros((3, 3)),
    ],
)
def test_flat_boxes_are_refused(model, cell) -> None:
    with pytest.raises(ValueError, match=r"is flat, .* angstrom between two of its faces"):
        check_start(model, WATER.numbers, WATER.positions, cell)


def test_box_must_hold_the_atoms(model) -> None:
    """CRYST1 of 1 angstrom is a placeholder; diamond has 0.18 atoms per cubic angstrom."""
    with pytest.raises(ValueError, match=r"volume of 1 cubic angstrom for 3 atoms.*CRYST1"):
        check_start(model, WATER.numbers, WATER.positions, np.eye(3))
    diamond = ase.build.bulk("C", cubic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(model, diamond)


def test_box_must_be_twice_the_cutoff_of_other_forces_alone(model) -> None:
    box = np.diag([25.0, 19.0, 25.0])
    check_start(model, WATER.numbers, WATER.positions, box)
    check_start(model, WATER.numbers, WATER.positions, box, cutoff_angstrom=9.0)
    with pytest.raises(ValueError, match=r"box is 19 angstrom wide, .* reach 10 .*more than 20"):
        check_start(model, WATER.numbers, WATER.positions, box, cutoff_angstrom=10.0)


def test_elements_of_the_models_part_alone_must_be_known(model) -> None:
    salt = WATER + ase.Atoms("Na", [[5.0, 0, 0]])
    with pytest.raises(ValueError, match=r"does not know Na \(atom 3\)"):
        check(model, salt)
    check(model, salt, atoms=[0, 1, 2])


def test_particles_that_are_no_atoms_may_lie_on_atoms(model) -> None:
    sites = WATER + ase.Atoms("X", WATER.positions[:1])
    check(model, sites, atoms=[0, 1, 2])


def test_charge_is_warned_of(model) -> None:
    with pytest.warns(UserWarning, match=r"charge of \+2 e: the model is given no charge"):
        check(model, WATER, charge=2.0)
