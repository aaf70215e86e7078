"""Harmonic vibrations: Hessians by finite differences of forces, rigid motions projected out."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import ase
import numpy as np
from ase import units
from numpy.typing import NDArray

STEP = 0.01
"""Of finite differences, in angstrom."""
SMALLEST_MOMENT = 0.01
"""Of inertia that a rotation has, in amu angstrom^2: less is a relaxed linear molecule's."""
HBAR: float = units._hbar / units._e * units.s
"""In eV times ASE's unit of time, which is angstrom sqrt(amu / eV)."""

Array = NDArray[np.float64]


class VibrationalModes(NamedTuple):
    """Vibrations of M internal degrees of freedom.

    Attributes
    ----------
    squares
        Of the angular frequencies (M,) in eV/(angstrom^2 amu), ascending; negative at a saddle.
    moves
        Displacements (M, N, 3) in 1/sqrt(amu): orthonormal when multiplied by the root of masses.
    """

    squares: Array
    moves: Array

    @property
    def wavenumbers(self) -> Array:
        """In cm^-1 (M,); an imaginary one is negative."""
        return wavenumbers(self.squares)


def wavenumbers(squares: Array) -> Array:
    """Return angular frequencies in cm^-1 of their squares in eV/(angstrom^2 amu).

    The square of an imaginary one is negative, and so is the number that is returned.
    """
    return np.sign(squares) * np.sqrt(np.abs(squares)) * HBAR / units.invcm


def displaced(atoms: ase.Atoms, step: float = STEP) -> Iterator[ase.Atoms]:
    """Yield 6N copies, every coordinate displaced backwards and then forwards."""
    for coordinate in range(3 * len(atoms)):
        for change in (-step, step):
            moved = atoms.copy()
            moved.positions[divmod(coordinate, 3)] += change
            yield moved


def force_changes(forces: Iterable[Array], step: float = STEP) -> Array:
    """Return minus the changes of forces with each coordinate (3N, 3N) in eV/angstrom^2.

    It is the Hessian, and symmetric, as far as forces are linear over the step.

    Parameters
    ----------
    forces
        (N, 3) in eV/angstrom of each copy that :func:`displaced` gives, in its order.
    step
        In angstrom, of the same.
    """
    flat = np.array([each.ravel() for each in forces])
    changes: Array = (flat[::2] - flat[1::2]) / (2 * step)
    return changes


def symmetric(changes: Array) -> Array:
    """Return the Hessian: the mean of a matrix and its transpose."""
    mean: Array = (changes + changes.T) / 2
    return mean


def vibrational_modes(atoms: ase.Atoms, second_derivatives: Array) -> VibrationalModes:
    """Return the vibrations of a molecule, without its translations and rotations.

    There are 3N - 6 of them, 3N - 5 of a linear molecule and none of an atom (E. B. Wilson, J. C.
    Decius and P. C. Cross, Molecular Vibrations, 1955, chapter 2).

    Parameters
    ----------
    atoms
        Geometry and masses.
    second_derivatives
        Hessian (3N, 3N) in eV/angstrom^2.
    """
    root_mass = np.sqrt(np.repeat(atoms.get_masses(), 3))
    internal = _internal_directions(atoms, root_mass)
    weighted = second_derivatives / np.outer(root_mass, root_mass)
    squares, modes = np.linalg.eigh(internal.T @ weighted @ internal)
    moves = (internal @ modes / root_mass[:, None]).T
    return VibrationalModes(squares, moves.reshape(-1, len(atoms), 3))


def _internal_directions(atoms: ase.Atoms, root_mass: Array) -> Array:
    """Return orthonormal mass-weighted directions (3N, M) that are no rigid motions."""
    centred = atoms.positions - atoms.get_center_of_mass()
    axes = np.eye(3)
    turns = np.cross(axes[:, None], centred[None]).reshape(3, -1)
    shifts = np.tile(axes, len(atoms))
    left, sizes, _ = np.linalg.svd((np.concatenate([shifts, turns]) * root_mass).T)
    rank = int((sizes**2 > SMALLEST_MOMENT).sum())  # masses and moments of inertia
    internal: Array = left[:, rank:]
    return internal
