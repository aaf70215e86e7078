"""Small structures of every periodicity, on which engines are compared."""

from collections.abc import Callable, Sequence
from typing import Any

import ase
import ase.build
import numpy as np

CHNO = (1, 6, 7, 8)


def grid(
    sides: Sequence[int],
    spacing: float,
    cell: Any = None,
    pbc: Any = True,
    seed: int = 0,
    elements: Sequence[int] = CHNO,
) -> ase.Atoms:
    """Return atoms of all elements on a rattled grid.

    Parameters
    ----------
    sides
        Atoms along each of three directions.
    spacing
        Between them in angstrom, where no cell is given.
    cell
        Lattice vectors as rows (3, 3) in angstrom.
    pbc, seed, elements
        Periodicity, seed of the random numbers and atomic numbers.
    """
    rng = np.random.default_rng(seed)
    steps = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1).reshape(-1, 3)
    lattice = np.diag(np.array(sides) * spacing) if cell is None else np.array(cell)
    fractions = (steps + rng.uniform(-0.12, 0.12, steps.shape)) / sides
    numbers = rng.choice(list(elements), len(steps))
    return ase.Atoms(numbers, positions=fractions @ lattice, cell=lattice, pbc=pbc)


def molecule(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return ethanol, or a cluster where its elements are not among those given."""
    if {1, 6, 8} <= set(elements):
        ethanol: ase.Atoms = ase.build.molecule("CH3CH2OH")
        ethanol.rattle(0.05, seed=2)  # at a minimum, forces are what rounding leaves of larger ones
        return ethanol
    return grid((2, 2, 2), 1.6, np.eye(3) * 3.2, pbc=False, elements=elements)


def boxed(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return the molecule in a large periodic box."""
    atoms = molecule(elements)
    atoms.set_cell([14.0, 15.0, 16.0])
    atoms.center()
    atoms.pbc = True
    return atoms


def water(sides: Sequence[int] = (3, 3, 3)) -> ase.Atoms:
    """Return a periodic box of water at about its density."""
    single = ase.build.molecule("H2O", vacuum=1.1)
    single.cell = [3.1, 3.1, 3.1]
    atoms: ase.Atoms = single.repeat(sides)
    atoms.rattle(0.1, seed=1)
    atoms.pbc = True
    return atoms


def liquid(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return a box of water, or of atoms where its elements are not among those given."""
    return water() if {1, 8} <= set(elements) else grid((4, 4, 4), 2.3, elements=elements)


def skewed(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return a triclinic cell that is turned in space."""
    lattice = [[9.6, 0, 0], [4.1, 9.4, 0], [-3.2, 2.5, 9.1]]
    atoms = grid((4, 4, 4), 2.4, lattice, elements=elements)
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    return atoms


def unwrapped(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return the same with every atom moved by lattice vectors, as after long dynamics."""
    atoms = skewed(elements)
    jumps = np.random.default_rng(3).integers(-3, 4, (len(atoms), 3))
    atoms.positions += jumps @ atoms.cell.array
    return atoms


def tiny(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return a cell smaller than the cutoff: atoms are their own neighbours."""
    lattice = [[3.7, 0, 0], [1.1, 3.9, 0], [-0.6, 0.9, 3.8]]
    return grid((2, 2, 2), 2.0, lattice, elements=elements)


def small(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return a cell between one and two usual cutoffs: atoms meet two images of each other."""
    return grid((3, 3, 3), 2.3, seed=8, elements=elements)


def slab(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return atoms that are periodic in a plane, turned in space."""
    lattice = [[8.8, 0.3, 0.1], [1.0, 7.0, 0], [0, 0, 6.6]]
    atoms = grid((4, 3, 3), 2.2, lattice, pbc=(True, True, False), elements=elements)
    atoms.rotate(25, (1, 1, 0), rotate_cell=True)
    return atoms


def slab_across(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return atoms that are periodic along the second and third lattice vector."""
    return grid((3, 3, 4), 2.2, pbc=(False, True, True), seed=4, elements=elements)


def wire(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return atoms that are periodic along one direction."""
    return grid((2, 2, 5), 2.1, pbc=(False, False, True), seed=5, elements=elements)


def left_handed(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return a left-handed cell whose atoms are far outside of it."""
    lattice = [[0, 7.3, 0], [7.2, 0.4, 0], [0, 1.0, 7.1]]
    atoms = grid((3, 3, 3), 2.4, lattice, seed=6, elements=elements)
    atoms.positions += [100.0, -55.0, 3.0]
    return atoms


def cluster(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return many atoms without periodicity."""
    return grid((4, 4, 3), 2.0, pbc=False, seed=9, elements=elements)


def apart(elements: Sequence[int] = CHNO) -> ase.Atoms:
    """Return one atom of every element, none with a neighbour."""
    places = np.outer(np.arange(len(elements)), [20.0, 3.0, 1.0])
    return ase.Atoms(list(elements), positions=places)


SAMPLES: dict[str, Callable[[Sequence[int]], ase.Atoms]] = {
    "molecule": molecule,
    "cluster": cluster,
    "atoms apart": apart,
    "boxed molecule": boxed,
    "liquid": liquid,
    "skewed cell": skewed,
    "unwrapped": unwrapped,
    "left-handed cell": left_handed,
    "small cell": small,
    "tiny cell": tiny,
    "slab": slab,
    "slab across": slab_across,
    "wire": wire,
}
"""By name, what makes a structure of some elements."""
