"""What a start of molecular dynamics must fulfil, checked before anything runs."""

import warnings
from itertools import islice

import ase
import numpy as np
from numpy.typing import NDArray

from idle_md.bonds import CLOSE, OVERLAP, find_contacts
from idle_md.cells import check_box

SHOWN = 3  # pairs of atoms that are too close


def check_start(structure: ase.Atoms, cutoff_angstrom: float | None = None) -> None:
    """Check that molecular dynamics can start from a structure.

    A model takes a periodic box of any size and shape: its edges go to as many images as there
    are. What else is in the System may not, see ``cutoff_angstrom``.

    Parameters
    ----------
    structure
        All particles, of any periodicity; those of the atomic number 0 are no atoms, and may lie
        anywhere.
    cutoff_angstrom
        Cutoff of nonbonded forces of OpenMM in the same System, whose box must be twice as wide.

    Warns
    -----
    UserWarning
        If atoms are closer than 0.5 angstrom.

    Raises
    ------
    ValueError
        If a position is not a number, atoms are closer than 0.25 angstrom, or the box is flat or
        too narrow; names the atoms and the remedy.
    """
    _check_numbers(structure.positions)
    if structure.pbc.all():
        n_atoms = int((structure.numbers > 0).sum())
        check_box(structure.cell.array, n_atoms)
        if cutoff_angstrom is not None:
            _check_width(structure.cell.array, cutoff_angstrom)
    _check_distances(structure)


def _check_numbers(points: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(~np.isfinite(points).all(1))
    if len(bad):
        atoms = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise ValueError(
            f"positions that are not numbers: atoms {atoms}; take an earlier frame, or build the "
            "structure anew"
        )


def _check_width(box: NDArray[np.float64], cutoff: float) -> None:
    if np.diag(box).min() < 2.0 * cutoff:
        raise ValueError(
            f"the box is {np.diag(box).min():.4g} angstrom wide, the nonbonded forces of the force "
            f"field reach {cutoff:g} and need twice that: take a box of more than "
            f"{2.0 * cutoff:g} angstrom, with more solvent"
        )


def _check_distances(particles: ase.Atoms) -> None:
    close = find_contacts(particles, CLOSE)
    if not len(close.pairs):
        return
    shown = zip(close.pairs, close.lengths, close.with_image, strict=True)
    pairs = "; ".join(
        f"{first} and {'an image of ' if is_image else ''}{second}, {length:.3g} angstrom"
        for (first, second), length, is_image in islice(shown, SHOWN)
    ) + ("; ..." if len(close.pairs) > SHOWN else "")
    if close.lengths[0] < OVERLAP:
        raise ValueError(
            f"atoms overlap ({pairs}): remove the duplicates, or, if they are images of each "
            "other, give the right cell"
        )
    warnings.warn(
        f"atoms are very close ({pairs}): relax the structure first (minimize)", stacklevel=3
    )
