"""What a start of molecular dynamics must fulfil, checked before anything runs."""

import warnings
from collections.abc import Sequence
from itertools import islice

import ase
import numpy as np
from numpy.typing import ArrayLike, NDArray

from idle_md.bonds import CLOSE, OVERLAP, find_contacts
from idle_md.deploy import DeployedModel

SHOWN = 3  # pairs of atoms that are too close
DENSEST = 1.0
"""Atoms per cubic angstrom; diamond has 0.18."""


def check_start(
    model: DeployedModel,
    numbers: Sequence[int],
    positions_angstrom: ArrayLike,
    cell: ArrayLike | None = None,
    charge: float | None = None,
    *,
    atoms: Sequence[int] | None = None,
    cutoff_angstrom: float | None = None,
) -> None:
    """Check that molecular dynamics can start from a structure.

    A model takes a periodic box of any size and shape: its edges go to as many images as there
    are. What else is in the System may not, see ``cutoff_angstrom``.

    Parameters
    ----------
    model
        The model that runs.
    numbers, positions_angstrom
        Atomic numbers (N,) and positions (N, 3) of all particles; 0 stands for particles that are
        no atoms, which may lie anywhere.
    cell
        Lattice vectors as rows (3, 3) in angstrom, where the structure is periodic.
    charge
        Total charge in e of what the model describes, where known.
    atoms
        Indices of the particles that the model describes, all by default.
    cutoff_angstrom
        Cutoff of nonbonded forces of OpenMM in the same System, whose box must be twice as wide.

    Warns
    -----
    UserWarning
        If atoms are closer than 0.5 angstrom, or the model's part is charged: models are given no
        charge, and their files do not say which charges they were trained on.

    Raises
    ------
    ValueError
        If the model does not know an element, a position is not a number, atoms are closer than
        0.25 angstrom, or the box is flat or too narrow; names the atoms and the remedy.
    """
    points = np.asarray(positions_angstrom, dtype=np.float64)
    species = np.asarray(numbers, dtype=np.int64)
    chosen = list(range(len(species))) if atoms is None else list(atoms)
    model.check_elements([int(species[atom]) for atom in chosen], chosen)
    _check_numbers(points, len(species))
    box = None if cell is None else np.asarray(cell, dtype=np.float64)
    if box is not None:
        check_box(box, int((species > 0).sum()), cutoff_angstrom)
    _check_distances(ase.Atoms(species, points, cell=box, pbc=box is not None))
    if charge is not None:
        warn_of_charge(charge)


def warn_of_charge(charge: float) -> None:
    """Warn if what a model describes has a charge in e, as :func:`check_start` does."""
    if abs(charge) > 0.05:
        warnings.warn(
            f"what the model describes has a charge of {charge:+.2g} e: the model is given no "
            "charge and treats it as what it was trained on, so use it only if that had this "
            "charge too",
            stacklevel=3,
        )


def _check_numbers(points: NDArray[np.float64], n_atoms: int) -> None:
    if points.shape != (n_atoms, 3):
        raise ValueError(f"positions have shape {points.shape}: {n_atoms} atoms need (N, 3)")
    bad = np.flatnonzero(~np.isfinite(points).all(1))
    if len(bad):
        atoms = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise ValueError(
            f"positions that are not numbers: atoms {atoms}; take an earlier frame, or build the "
            "structure anew"
        )


def check_box(box: NDArray[np.float64], n_atoms: int, cutoff: float | None = None) -> None:
    """Check a periodic box before anything is in it.

    Parameters
    ----------
    box
        Lattice vectors as rows (3, 3) in angstrom.
    n_atoms
        How many atoms it is to hold.
    cutoff
        See ``cutoff_angstrom`` of :func:`check_start`.

    Raises
    ------
    ValueError
        If it is none, flat, too small for so many atoms, or too narrow; names the remedy.
    """
    if box.shape != (3, 3) or not np.isfinite(box).all():
        raise ValueError(f"the cell {box.tolist()} is not three lattice vectors in angstrom")
    normals = np.cross(box[[1, 2, 0]], box[[2, 0, 1]])
    areas = np.linalg.norm(normals, axis=1)
    volume = abs(float(np.linalg.det(box)))
    widths = volume / np.where(areas > 0.0, areas, np.inf)
    if widths.min() < CLOSE:
        raise ValueError(
            f"the cell {box.tolist()} is flat, {widths.min():.3g} angstrom between two of its "
            "faces: give three lattice vectors in angstrom, or a structure that is not periodic"
        )
    if n_atoms > DENSEST * volume:
        raise ValueError(
            f"the cell {box.tolist()} has a volume of {volume:.3g} cubic angstrom for {n_atoms} "
            "atoms: give the right one; a file of one molecule may hold a placeholder (CRYST1 of "
            "1 angstrom), remove that line"
        )
    if cutoff is not None and np.diag(box).min() < 2.0 * cutoff:
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
