"""GFN1-xTB and GFN2-xTB by tblite."""

import importlib.metadata

import numpy as np
from ase import Atoms
from ase.units import Bohr
from tblite.interface import Calculator

from idle_md.fidelity import LevelOfTheory
from idle_md.label.programs.base import LabelError, Result
from idle_md.units import HARTREE


class Tblite:
    """Extended tight binding, JCTC 13, 1989 (2017) and JCTC 15, 1652 (2019)."""

    knows_spins = True

    def __init__(self, method: str) -> None:
        version = importlib.metadata.version("tblite")
        self.theory = LevelOfTheory(method=method, program="tblite", version=version)

    def calculate(self, atoms: Atoms, charge: int, unpaired: int) -> Result:
        """Calculate energy and forces, see :class:`idle_md.label.programs.base.Level`."""
        periodic = bool(atoms.pbc.any())
        try:
            calculator = Calculator(
                self.theory.method,
                atoms.numbers,
                atoms.positions / Bohr,
                charge=float(charge),
                uhf=unpaired,
                lattice=np.asarray(atoms.cell) / Bohr if periodic else None,
                periodic=atoms.pbc if periodic else None,
            )
            calculator.set("verbosity", 0)
            result = calculator.singlepoint()
        except RuntimeError as error:
            raise LabelError(str(error)) from error
        energy = float(result.get("energy")) * HARTREE
        return Result(energy, -np.asarray(result.get("gradient")) * HARTREE / Bohr)
