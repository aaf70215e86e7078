"""Levels of theory as ASE calculators."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from idle_md.label.calculation import calculate
from idle_md.label.levels import TBLITE
from idle_md.label.programs.base import BondedLevel, Level


class LevelCalculator(Calculator):
    """Energies and forces of a level, for ASE's dynamics and optimisers."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, level: Level, charge: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._level, self._charge = level, charge

    def keeping_bonds(self, atoms: Atoms) -> "LevelCalculator":
        """Return a calculator with the bonds of a geometry; itself at levels that have no bonds."""
        if not isinstance(self._level, BondedLevel):
            return self
        return LevelCalculator(self._level.keeping_bonds(atoms, self._charge), self._charge)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Return what has changed since the last calculation: everything or nothing.

        ASE's own comparison takes longer than a force field takes for twenty atoms.
        """
        known: Any = self.atoms
        same = known is not None and all(
            np.array_equal(mine, other)
            for mine, other in (
                (known.positions, atoms.positions),
                (known.numbers, atoms.numbers),
                (known.cell.array, atoms.cell.array),
                (known.pbc, atoms.pbc),
            )
        )
        return [] if same else list(all_changes)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Calculate what ASE asks for; raises LabelError where there is no label."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        geometry: Any = self.atoms
        result = calculate(self._level, geometry, self._charge)
        if result.forces is None:
            raise ValueError(f"{self._level.theory.title} has no forces: take another level")
        found: dict[str, Any] = {"energy": result.energy, "free_energy": result.energy}
        self.results = {**found, "forces": result.forces}


def live_calculator(fidelity: str) -> Any:
    """Return the ASE calculator of a low level that runs live, for explicit delta learning.

    Unlike :class:`LevelCalculator` it starts from the last wave function and knows the stress.

    Parameters
    ----------
    fidelity
        Name of the low level's labels.

    Raises
    ------
    ValueError
        If it is not known how to calculate that fidelity.
    ModuleNotFoundError
        If the program is not installed; says what to install.
    """
    if fidelity not in TBLITE:
        raise ValueError(
            f"cannot calculate {fidelity!r} live: known are {', '.join(TBLITE)}; give the ASE "
            "calculator of the low level as `low_level`"
        )
    try:
        from tblite.ase import TBLite
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this model needs live {TBLITE[fidelity]} energies, and tblite is not installed: "
            "pip install tblite, or train with `method: idle`, whose model needs none"
        ) from error
    return TBLite(method=TBLITE[fidelity], verbosity=0)
