"""Bonds deduced from distances."""

import ase
import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from idle_md.neighbors import neighbor_list

TOLERANCE = 1.3
"""Atoms closer than this times the sum of their covalent radii are bonded."""


def find_bonds(atoms: ase.Atoms) -> NDArray[np.int64]:
    """Return the bonds (B, 2) of a structure, periodic images included, each of them once.

    The covalent radii are those of :mod:`ase.data` (Cordero et al., Dalton Trans. 2008, 2832).
    Particles of atomic number 0 have no bonds, nor has an atom any to its own images.
    """
    known = np.flatnonzero(atoms.numbers)
    if len(known) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    radii = covalent_radii[atoms.numbers[known]]
    points, longest = atoms.positions[known], 2 * TOLERANCE * float(radii.max())
    edges, shifts = neighbor_list(points, longest, atoms.cell.array, atoms.pbc)
    lengths = np.linalg.norm(points[edges[1]] - points[edges[0]] + shifts, axis=1)
    near = (lengths < TOLERANCE * radii[edges].sum(0)) & (edges[0] < edges[1])
    bonds: NDArray[np.int64] = np.unique(known[edges[:, near]].T, axis=0).reshape(-1, 2)
    return bonds


def bond_vectors(atoms: ase.Atoms, bonds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the vectors (B, 3) of bonds in angstrom, to the nearest image in a reduced cell."""
    vectors: NDArray[np.float64] = atoms.positions[bonds[:, 1]] - atoms.positions[bonds[:, 0]]
    if atoms.pbc.all():
        cell = atoms.cell.array
        vectors = vectors - np.round(vectors @ np.linalg.inv(cell)) @ cell
    return vectors
