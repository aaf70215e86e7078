"""Geometries with one bond on its way to break."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from idle_md.bonds import BONDED, contact_ratios
from idle_md.label.calculator import LevelCalculator
from idle_md.label.programs.base import LabelError

SHORTEST, LONGEST = 1.1, 1.8  # length of the bond over that in the start
HIGHEST = 5.0  # eV that stretching may cost
JITTER = 0.03  # angstrom, standard deviation of every coordinate

Bond = tuple[int, int, NDArray[np.bool_]]
"""Two atoms, and which atoms (N,) are on the side of the second."""


def stretches(
    starts: Sequence[Atoms], calculator: LevelCalculator, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield geometries without end: one bond 1.1 to 1.8 times as long, both sides rigid.

    What costs more than 5 eV at the level is stretched less. Every coordinate is displaced at
    random by a little, before.
    """
    bonds = [open_bonds(atoms) for atoms in starts]
    kept = [calculator.keeping_bonds(atoms) for atoms in starts]
    frame = 0
    while True:
        conformer = int(rng.integers(len(starts)))
        first, second, side = bonds[conformer][int(rng.integers(len(bonds[conformer])))]
        start = Atoms(starts[conformer].numbers, starts[conformer].positions)
        start.positions += JITTER * rng.standard_normal(start.positions.shape)
        highest = _energy(start, kept[conformer]) + HIGHEST
        bond = start.positions[second] - start.positions[first]
        factor = rng.uniform(SHORTEST, LONGEST)
        atoms = _shifted(start, side, (factor - 1) * bond)
        while _energy(atoms, kept[conformer]) > highest:
            factor = rng.uniform(1.0, factor)
            atoms = _shifted(start, side, (factor - 1) * bond)
        atoms.info = {"sampling": "stretches", "conformer": conformer, "frame": frame}
        yield atoms
        frame += 1


def open_bonds(atoms: Atoms) -> list[Bond]:
    """Return the bonds that are in no ring, judged by distances."""
    bonded = np.triu(contact_ratios(atoms, atoms) < BONDED, 1)
    found = []
    for first, second in np.argwhere(bonded).tolist():
        others = bonded.copy()
        others[first, second] = False
        part = connected_components(others, directed=False)[1]
        if part[first] != part[second]:
            found.append((first, second, part == part[second]))
    return found


def _shifted(start: Atoms, side: NDArray[np.bool_], shift: NDArray[np.float64]) -> Atoms:
    atoms = Atoms(start.numbers, start.positions)
    atoms.positions[side] += shift
    return atoms


def _energy(atoms: Atoms, calculator: LevelCalculator) -> float:
    copy = atoms.copy()
    copy.calc = calculator
    try:
        return float(copy.get_potential_energy())
    except LabelError:
        return float("inf")
