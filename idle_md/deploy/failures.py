"""Structures for which a model gives no numbers, or none that mean anything."""

import ase
import numpy as np

from idle_md.neighbors import neighbor_list

NEAR = 0.5
"""angstrom; where there are no numbers, atoms so close are the reason."""
ONE_PLACE = 1e-3
"""angstrom; atoms so close are in one place, as a copy is that was rounded."""
ZERO_LENGTH = "has length zero"
"""What native operators on the CPU say of an edge; others go on, and give no numbers."""
UNKNOWN = "the energy is not a number: look for atoms that are too close or have flown apart"


def why_no_numbers(atoms: ase.Atoms) -> str:
    """Return what is wrong with a structure whose energy or forces are not numbers.

    Parameters
    ----------
    atoms
        Of any periodicity, with positions that are numbers.
    """
    return too_close(atoms, NEAR) or UNKNOWN


def too_close(atoms: ase.Atoms, limit: float = ONE_PLACE) -> str:
    """Return which two atoms, or atom and image, are closest; nothing if farther than a limit.

    Parameters
    ----------
    atoms
        Of any periodicity, with positions that are numbers.
    limit
        In angstrom, up to :data:`NEAR`.
    """
    pairs, shifts = neighbor_list(atoms.positions, NEAR, atoms.cell.array, atoms.pbc)
    if not len(shifts):
        return ""
    vectors = atoms.positions[pairs[1]] - atoms.positions[pairs[0]] + shifts
    distances = np.linalg.norm(vectors, axis=1)
    nearest = int(distances.argmin())
    if distances[nearest] > limit:
        return ""
    i, j = pairs[:, nearest].tolist()
    far = f"{distances[nearest]:.3f} angstrom apart"
    where = "in one place" if distances[nearest] <= ONE_PLACE else far
    return (
        f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are {where}: move one of "
        "them, or remove it"
    )
