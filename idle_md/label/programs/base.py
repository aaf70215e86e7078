"""What a level of theory must be able to do to label geometries."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idle_md.fidelity import LevelOfTheory


class LabelError(Exception):
    """A calculation that gave no label; the message says why."""


@dataclass(frozen=True)
class Result:
    """Outcome of one calculation.

    Attributes
    ----------
    energy
        Total energy in eV.
    forces
        Forces in eV/angstrom, shape (N, 3); None at levels that have none.
    """

    energy: float
    forces: NDArray[np.float64] | None = None


class Level(Protocol):
    """A way of calculating labels. Third parties add theirs as entry points `idle_md.levels`.

    An entry point's name is the level's name; it is called with that name, once in every worker,
    and returns an object like this. It is given open shells of several atoms if it has an attribute
    ``knows_spins`` that is true.
    """

    theory: LevelOfTheory

    def calculate(self, atoms: Atoms, charge: int, unpaired: int) -> Result:
        """Calculate one geometry.

        Parameters
        ----------
        atoms
            Geometry.
        charge
            Total charge in elementary charges.
        unpaired
            Number of unpaired electrons; 0 but for isolated atoms where the level knows no spins.

        Raises
        ------
        LabelError
            If the calculation did not converge or the level cannot do it.
        """
        ...


@runtime_checkable
class BondedLevel(Level, Protocol):
    """A level whose energy is also a function of bonds: a force field.

    ``calculate`` finds the bonds in every geometry anew, as labels need it. Whatever moves atoms
    step by step, dynamics and relaxation, keeps those of its start.
    """

    def keeping_bonds(self, atoms: Atoms, charge: int) -> Level:
        """Return the level with the bonds of a geometry, for other geometries of the same atoms.

        Raises
        ------
        LabelError
            If the level cannot do the geometry.
        """
        ...
