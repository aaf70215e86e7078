"""What a molecule must look like: no atoms on top of each other, no fragments."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

CLOSEST = 0.6  # of the sum of the covalent radii
FARTHEST = 1.6


def fragments(atoms: Atoms) -> int:
    """Return the number of parts that nothing holds together."""
    found: int = connected_components(contact_ratios(atoms, atoms) < FARTHEST, directed=False)[0]
    return found


def is_sound(atoms: Atoms, n_fragments: int) -> bool:
    """Tell whether no atoms overlap and there are no more fragments than there should be."""
    ratios = contact_ratios(atoms, atoms)
    np.fill_diagonal(ratios, FARTHEST)
    return bool(ratios.min() > CLOSEST) and fragments(atoms) <= n_fragments


def contact_ratios(first: Atoms, second: Atoms) -> NDArray[np.float64]:
    """Return distances over sums of covalent radii, shape (N1, N2)."""
    distances = np.linalg.norm(first.positions[:, None] - second.positions, axis=2)
    radii = covalent_radii[first.numbers][:, None] + covalent_radii[second.numbers]
    ratios: NDArray[np.float64] = distances / radii
    return ratios
