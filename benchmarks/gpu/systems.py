"""Systems of any size to time and to compare, made by ASE alone."""

from pathlib import Path

import ase
import ase.io
from structures import PERIODIC_FROM, liquid

ASPIRIN = Path(__file__).with_name("aspirin.xyz")
ASPIRIN_ATOMS = 21


def system(n_atoms: int) -> ase.Atoms:
    """Return aspirin (21 atoms), an open cluster of water, or from 1,000 atoms on a box of water.

    Water has as many molecules of ammonia in it as are needed for the number of atoms.
    """
    if n_atoms == ASPIRIN_ATOMS:
        atoms = ase.io.read(ASPIRIN)
        assert isinstance(atoms, ase.Atoms)
        return atoms
    atoms = liquid(n_atoms)
    return atoms if n_atoms >= PERIODIC_FROM else ase.Atoms(atoms.numbers, atoms.positions)
