"""GFN-FF by its library."""

import importlib.metadata

import numpy as np
from ase import Atoms
from ase.units import Bohr
from gfnff import GFNFFCalculator
from numpy.typing import NDArray

from idle_md.fidelity import LevelOfTheory
from idle_md.label.programs.base import LabelError, Level, Result
from idle_md.units import HARTREE

HEAVIEST = 103  # lawrencium
NOTES = "topology of each geometry by itself; energy relative to free atoms"


class GFNFF:
    """Force field of the elements up to lawrencium, Angew. Chem. Int. Ed. 59, 15665 (2020).

    Bonds, hybridisation and the force constants that follow from them are found in every geometry
    anew, so that an energy is a function of the geometry alone.
    """

    def __init__(self, method: str) -> None:
        version = importlib.metadata.version("gfnff")
        self.theory = LevelOfTheory(method=method, program="gfnff", version=version, notes=NOTES)

    def calculate(self, atoms: Atoms, charge: int, unpaired: int) -> Result:
        """Calculate energy and forces, see :class:`idle_md.label.programs.base.Level`."""
        return self.keeping_bonds(atoms, charge).calculate(atoms, charge, unpaired)

    def keeping_bonds(self, atoms: Atoms, charge: int) -> Level:
        """Keep a topology, see :class:`idle_md.label.programs.base.BondedLevel`."""
        return _Topology(self.theory, atoms, charge)


class _Topology:
    """GFN-FF with the topology of one geometry."""

    def __init__(self, theory: LevelOfTheory, atoms: Atoms, charge: int) -> None:
        if atoms.pbc.any():
            raise LabelError("periodic geometries are not calculated with GFN-FF")
        unknown = {z for z in atoms.numbers.tolist() if not 1 <= z <= HEAVIEST}
        if unknown:  # the library reads beyond its tables
            raise LabelError(f"GFN-FF has no parameters for Z={sorted(unknown)}")
        self.theory = theory
        self._numbers: NDArray[np.int64] = atoms.numbers.copy()
        self._charge = charge
        try:
            self._field = GFNFFCalculator(atoms.numbers, atoms.positions / Bohr, charge=charge)
        except RuntimeError as error:
            raise LabelError("GFN-FF finds no topology of this geometry") from error

    def calculate(self, atoms: Atoms, charge: int, unpaired: int) -> Result:
        if not np.array_equal(atoms.numbers, self._numbers) or charge != self._charge:
            raise ValueError("the topology is that of other atoms or of another charge")
        try:
            energy, gradient, _ = self._field.singlepoint(atoms.numbers, atoms.positions / Bohr)
        except RuntimeError as error:
            raise LabelError(str(error)) from error
        return Result(energy * HARTREE, -gradient * HARTREE / Bohr)
