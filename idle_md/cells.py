"""Lattice vectors brought into the form that engines need; rows of (3, 3) in angstrom."""

import ase
import numpy as np
from ase.cell import Cell
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

NARROWEST = 0.5
"""angstrom between two faces of a cell, whose atoms would be as close to their own images."""
DENSEST = 1.0
"""Atoms per cubic angstrom; diamond has 0.18."""


def check_box(box: Array, n_atoms: int) -> None:
    """Check that a cell that is periodic in all directions can hold atoms.

    Parameters
    ----------
    box
        Lattice vectors as rows (3, 3) in angstrom.
    n_atoms
        How many atoms it is to hold.

    Raises
    ------
    ValueError
        If it is none, flat, or too small for so many atoms; names the remedy.
    """
    if box.shape != (3, 3) or not np.isfinite(box).all():
        raise ValueError(f"the cell {box.tolist()} is not three lattice vectors in angstrom")
    areas = np.linalg.norm(np.cross(box[[1, 2, 0]], box[[2, 0, 1]]), axis=1)
    volume = abs(float(np.linalg.det(box)))
    narrowest = float((volume / np.where(areas > 0.0, areas, np.inf)).min())
    if narrowest < NARROWEST:
        raise ValueError(
            f"the cell {box.tolist()} is flat, {narrowest:.3g} angstrom between two of its faces: "
            "give three lattice vectors in angstrom, or a structure that is not periodic"
        )
    if n_atoms > DENSEST * volume:
        raise ValueError(
            f"the cell {box.tolist()} has a volume of {volume:.3g} cubic angstrom for {n_atoms} "
            "atoms: give the right one; a file of one molecule may hold a placeholder (CRYST1 of "
            "1 angstrom), remove that line"
        )


def spanning(cell: ArrayLike, pbc: ArrayLike) -> Array:
    """Return lattice vectors (3, 3) that span space.

    Those of open directions are replaced by unit vectors normal to the periodic ones and to each
    other, such that the three are right-handed; periodic ones stay as they are.

    Parameters
    ----------
    cell, pbc
        Lattice vectors (3, 3), and periodicity along each (3,). The periodic ones are linearly
        independent.
    """
    lattice, periodic = np.array(cell, dtype=np.float64), np.asarray(pbc, dtype=bool)
    if periodic.all():
        return lattice
    if not periodic.any():
        return np.eye(3)
    rows = np.where(periodic[:, None], lattice, 0.0)
    lattice[~periodic] = np.linalg.svd(rows)[2][periodic.sum() :]
    if np.linalg.det(lattice) < 0:
        lattice[np.flatnonzero(~periodic)[0]] *= -1
    return lattice


def standard_form(cell: ArrayLike, pbc: ArrayLike = True) -> tuple[Array, Array]:
    """Return the same lattice as a reduced lower triangle with a positive diagonal.

    No tilt is longer than half of the diagonal element that it is along, which is what OpenMM and
    LAMMPS want. Vectors of open directions are those of :func:`spanning`, of length 1.

    Parameters
    ----------
    cell, pbc
        Lattice vectors (3, 3), left-handed or right-handed, and periodicity, of all three or along
        each (3,).

    Returns
    -------
    cell
        (3, 3).
    rotation
        (3, 3), with determinant 1: vectors as rows (N, 3) in the new frame are
        ``vectors @ rotation.T``, and back ``turned @ rotation``.

    Raises
    ------
    ValueError
        If the periodic lattice vectors span no volume, area or length.
    """
    periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
    lattice = np.array(cell, dtype=np.float64)
    if periodic.any() and np.linalg.matrix_rank(lattice[periodic]) < periodic.sum():
        raise ValueError(f"the cell {lattice.tolist()} spans no volume along {periodic.tolist()}")
    lattice = spanning(lattice, periodic)
    if np.linalg.det(lattice) < 0:
        lattice[2] *= -1  # the same lattice, right-handed: turned below instead of mirrored
    triangle, rotation = map(np.array, Cell(lattice).standard_form())
    for row, column in ((2, 1), (2, 0), (1, 0)):
        count = np.round(triangle[row, column] / triangle[column, column])
        triangle[row] -= triangle[column] * count
    return triangle, rotation


def in_standard_form(atoms: ase.Atoms) -> tuple[ase.Atoms, Array]:
    """Return a structure turned so that its cell has :func:`standard_form`, and the rotation.

    Positions and momenta are turned; constraints and what a calculator gave are left out.

    Raises
    ------
    ValueError
        As :func:`standard_form`.
    """
    cell, rotation = standard_form(atoms.cell.array, atoms.pbc)
    turned: ase.Atoms = atoms.copy()
    turned.set_constraint()
    turned.positions, turned.cell = atoms.positions @ rotation.T, cell
    if atoms.has("momenta"):
        turned.set_momenta(atoms.get_momenta() @ rotation.T)
    return turned, rotation
