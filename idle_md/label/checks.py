"""What makes a geometry not worth a calculation."""

import numpy as np
from ase import Atoms

from idle_md.label.level import LabelError

CLOSEST = 0.5  # angstrom


def check_geometry(atoms: Atoms, charge: int) -> None:
    """Refuse atoms on top of each other and odd numbers of electrons.

    Raises
    ------
    LabelError
        If the geometry should not be calculated.
    """
    if not np.isfinite(atoms.positions).all():
        raise LabelError("a position is not a finite number")
    first, second, distance = closest_pair(atoms)
    if distance < CLOSEST:
        raise LabelError(
            f"atoms {first} and {second} are {distance:.2f} angstrom apart, less than {CLOSEST}"
        )
    electrons = int(atoms.numbers.sum()) - charge
    if electrons % 2:
        raise LabelError(
            f"odd number of electrons, {electrons}: only closed shells are labelled, is the charge "
            f"{charge} right?"
        )


def closest_pair(atoms: Atoms) -> tuple[int, int, float]:
    """Return two atoms and their distance in angstrom, periodic images included."""
    if len(atoms) == 1:
        return 0, 0, float("inf")
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    np.fill_diagonal(distances, np.inf)
    first, second = np.unravel_index(int(distances.argmin()), distances.shape)
    return int(first), int(second), float(distances[first, second])
