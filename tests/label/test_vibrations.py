"""Normal modes of springs, whose frequencies are known in closed form."""

import ase
import numpy as np
import pytest
from ase import units

from idle_md.label.vibrations import displaced, force_changes, symmetric, vibrational_modes

STIFFNESS = 40.0  # eV/angstrom^2
HBAR = units._hbar / np.sqrt(units._amu * units._e) * 1e10  # eV, of sqrt(eV / amu) / angstrom


def spring_forces(atoms: ase.Atoms, lengths: dict[tuple[int, int], float]) -> np.ndarray:
    forces = np.zeros((len(atoms), 3))
    for (i, j), length in lengths.items():
        between = atoms.positions[j] - atoms.positions[i]
        distance = np.linalg.norm(between)
        pull = STIFFNESS * (distance - length) * between / distance
        forces[i] += pull
        forces[j] -= pull
    return forces


def wavenumbers(atoms: ase.Atoms, lengths: dict[tuple[int, int], float]) -> np.ndarray:
    forces = (spring_forces(each, lengths) for each in displaced(atoms))
    return vibrational_modes(atoms, symmetric(force_changes(forces))).wavenumbers


def in_wavenumbers(square: float) -> float:
    return HBAR * np.sqrt(square) / units.invcm


def test_diatomic_molecule() -> None:
    atoms = ase.Atoms("CO", [[0.3, 0.1, 0.2], [0.3, 1.0, 1.0]])
    [found] = wavenumbers(atoms, {(0, 1): atoms.get_distance(0, 1)})
    c, o = atoms.get_masses()
    assert found == pytest.approx(in_wavenumbers(STIFFNESS * (1 / c + 1 / o)), rel=1e-4)


def test_linear_molecule_has_four_vibrations() -> None:
    atoms = ase.Atoms("OCO", [[-1.2, 0, 0], [0, 0, 0], [1.2, 0, 0]])
    atoms.rotate(37.0, (1, 2, 3))
    atoms.positions += 1e-3 * np.random.default_rng(0).standard_normal((3, 3))  # as if relaxed
    found = wavenumbers(atoms, {p: atoms.get_distance(*p) for p in ((0, 1), (1, 2))})
    o, c, _ = atoms.get_masses()
    stretches = STIFFNESS / o, STIFFNESS * (1 / o + 2 / c)
    assert len(found) == 4
    assert found[2:] == pytest.approx([in_wavenumbers(each) for each in stretches], rel=1e-3)


def test_equilateral_triangle() -> None:
    """All three vibrations: k times 3/m, and twice k times 3/(2m)."""
    atoms = ase.Atoms("N3", [[0, 0, 0], [1.5, 0, 0], [0.75, 1.5 * np.sqrt(0.75), 0]])
    found = wavenumbers(atoms, dict.fromkeys(((0, 1), (1, 2), (0, 2)), 1.5))
    square = STIFFNESS / atoms.get_masses()[0]
    wanted = [in_wavenumbers(each * square) for each in (1.5, 1.5, 3.0)]
    assert found == pytest.approx(wanted, rel=1e-4)


def test_atom_has_none_and_a_saddle_is_negative() -> None:
    atom = ase.Atoms("Ar")
    assert len(wavenumbers(atom, {})) == 0
    pair = ase.Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    modes = vibrational_modes(pair, -np.kron([[1, -1], [-1, 1]], np.diag([0, 0, STIFFNESS])))
    assert modes.wavenumbers == pytest.approx([-in_wavenumbers(2 * STIFFNESS / 14.007)], rel=1e-6)


def test_modes_are_orthonormal_by_mass_and_move_nothing_as_a_whole() -> None:
    rng = np.random.default_rng(1)
    atoms = ase.Atoms("CHNO", rng.standard_normal((4, 3)))
    lengths = {(i, j): atoms.get_distance(i, j) for i in range(4) for j in range(i)}
    forces = (spring_forces(each, lengths) for each in displaced(atoms))
    moves = vibrational_modes(atoms, symmetric(force_changes(forces))).moves
    masses = atoms.get_masses()
    overlap = np.einsum("mia,i,nia->mn", moves, masses, moves)
    assert overlap == pytest.approx(np.eye(6), abs=1e-10)
    centred = atoms.positions - atoms.get_center_of_mass()
    assert np.abs(masses @ moves).max() < 1e-10
    assert np.abs(np.cross(centred, moves).transpose(0, 2, 1) @ masses).max() < 1e-10
