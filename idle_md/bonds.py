"""Which atoms are bonded, which are too close, and what falls apart, judged by distances alone.

Distances are compared with sums of covalent radii, those of :mod:`ase.data` (Cordero et al., Dalton
Trans. 2008, 2832), or, where nothing but nonsense is to be found, with lengths in angstrom.
Neighbour lists are imported where they are needed: with them comes torch, which workers that label
do without.
"""

from dataclasses import dataclass

import ase
import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

SQUEEZED = 0.6
"""Sums of covalent radii up to which a sampled geometry is thrown away: its atoms overlap."""
BONDED = 1.3
"""Sums of covalent radii below which two atoms are bonded: constraints, masses, watched bonds."""
SEPARATE = 1.6
"""Sums of covalent radii from which on nothing holds two atoms of a sampled geometry together."""
BROKEN = 2.0
"""Sums of covalent radii at which a bond of the start is broken and dynamics stops: 3.0 angstrom
for C-C, 2.1 for C-H."""
OVERLAP = 0.25
"""angstrom; closer atoms are no start of dynamics: no minimisation puts that right."""
CLOSE = 0.5
"""angstrom; closer atoms are not labelled, and dynamics warns of them: no bond is shorter than that
of hydrogen, 0.74."""


def radii_sums(atoms: ase.Atoms, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums (B,) of the covalent radii in angstrom of pairs (B, 2) of atoms."""
    sums: NDArray[np.float64] = covalent_radii[atoms.numbers[pairs]].sum(1)
    return sums


def find_bonds(atoms: ase.Atoms) -> NDArray[np.int64]:
    """Return the bonds (B, 2) of a structure, periodic images included, each of them once.

    Particles of atomic number 0 have no bonds, nor has an atom any to its own images.
    """
    from idle_md.neighbors import neighbor_list

    known = np.flatnonzero(atoms.numbers)
    if len(known) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    radii = covalent_radii[atoms.numbers[known]]
    points, longest = atoms.positions[known], 2 * BONDED * float(radii.max())
    edges, shifts = neighbor_list(points, longest, atoms.cell.array, atoms.pbc)
    lengths = np.linalg.norm(points[edges[1]] - points[edges[0]] + shifts, axis=1)
    near = (lengths < BONDED * radii[edges].sum(0)) & (edges[0] < edges[1])
    bonds: NDArray[np.int64] = np.unique(known[edges[:, near]].T, axis=0).reshape(-1, 2)
    return bonds


def bond_vectors(atoms: ase.Atoms, bonds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the vectors (B, 3) of bonds in angstrom, to the nearest image in a reduced cell."""
    vectors: NDArray[np.float64] = atoms.positions[bonds[:, 1]] - atoms.positions[bonds[:, 0]]
    if atoms.pbc.all():
        cell = atoms.cell.array
        vectors = vectors - np.round(vectors @ np.linalg.inv(cell)) @ cell
    return vectors


@dataclass(frozen=True)
class Contacts:
    """Pairs of atoms that are close to each other, the closest first.

    Attributes
    ----------
    pairs
        Indices of the atoms, shape (C, 2).
    lengths
        Distances in angstrom, shape (C,).
    with_image
        Whether the second atom of a pair is a periodic image, shape (C,).
    """

    pairs: NDArray[np.int64]
    lengths: NDArray[np.float64]
    with_image: NDArray[np.bool_]


def find_contacts(atoms: ase.Atoms, longest: float) -> Contacts:
    """Return all pairs of atoms closer than a length in angstrom, periodic images included.

    Particles of atomic number 0 are in no pair; an atom may be in one with its own images.
    """
    from idle_md.neighbors import neighbor_list

    known = np.flatnonzero(atoms.numbers)
    points = atoms.positions[known]
    edges, shifts = neighbor_list(points, longest, atoms.cell.array, atoms.pbc)
    once = edges[0] <= edges[1]
    edges, shifts = edges[:, once], shifts[once]
    lengths = np.linalg.norm(points[edges[1]] - points[edges[0]] + shifts, axis=1)
    order = np.argsort(lengths, kind="stable")
    return Contacts(known[edges.T][order], lengths[order], shifts.any(axis=1)[order])


def closest_pair(atoms: ase.Atoms) -> tuple[int, int, float]:
    """Return two atoms and their distance in angstrom, periodic images included, of a few atoms.

    Of all pairs, without a neighbour list; a single atom is infinitely far from itself.
    """
    if len(atoms) == 1:
        return 0, 0, float("inf")
    if atoms.pbc.any():
        distances = atoms.get_all_distances(mic=True)
    else:
        distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=2)
    np.fill_diagonal(distances, np.inf)
    first, second = np.unravel_index(int(distances.argmin()), distances.shape)
    return int(first), int(second), float(distances[first, second])


def contact_ratios(first: ase.Atoms, second: ase.Atoms) -> NDArray[np.float64]:
    """Return distances over sums of covalent radii (N1, N2), without periodic images."""
    distances = np.linalg.norm(first.positions[:, None] - second.positions, axis=2)
    radii = covalent_radii[first.numbers][:, None] + covalent_radii[second.numbers]
    ratios: NDArray[np.float64] = distances / radii
    return ratios


def closest_ratio(atoms: ase.Atoms) -> float:
    """Return the least distance over the sum of covalent radii, infinite for a single atom."""
    ratios = contact_ratios(atoms, atoms)
    np.fill_diagonal(ratios, np.inf)
    return float(ratios.min())


def fragments(atoms: ase.Atoms) -> int:
    """Return the number of parts that nothing holds together, without periodic images."""
    together = contact_ratios(atoms, atoms) < SEPARATE
    first, before = np.arange(len(atoms)), None  # atom with the least index that each hangs on
    while before is None or (first != before).any():
        before, first = first, np.where(together, first, len(atoms)).min(axis=1)
    return len(np.unique(first))


def is_sound(atoms: ase.Atoms, n_fragments: int) -> bool:
    """Tell whether no atoms overlap and there are no more fragments than there should be."""
    return closest_ratio(atoms) > SQUEEZED and fragments(atoms) <= n_fragments
