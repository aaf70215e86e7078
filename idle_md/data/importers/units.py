"""Units that a file may be in, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from ase import units

from idle_md.units import HARTREE, KCAL_PER_MOL, KJ_PER_MOL, NM

ENERGY = {
    "eV": 1.0,
    "hartree": HARTREE,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
    "meV": 1e-3,
}
"""Units of energy in eV."""

LENGTH = {"angstrom": 1.0, "bohr": float(units.Bohr), "nm": NM}
"""Units of length in angstrom."""

_ALIASES = {"ha": "hartree", "eh": "hartree", "ang": "angstrom", "å": "angstrom", "a0": "bohr"}


@dataclass(frozen=True)
class Units:
    """Units that a user gives; None where the file knows.

    Attributes
    ----------
    energy, length
        One of those known.
    forces
        Energy over length, ``hartree/bohr``; the quotient of the others where None.
    gradients
        Whether the forces are gradients, of the other sign.
    trusted
        Whether units count as they are, without checks.
    """

    energy: str | None = None
    length: str | None = None
    forces: str | None = None
    gradients: bool = False
    trusted: bool = False


def known(unit: str, among: Mapping[str, float], option: str) -> str:
    """A unit by its usual name, whatever its spelling.

    Raises
    ------
    ValueError
        There is no such unit.
    """
    spelling = _ALIASES.get(unit.strip().casefold(), unit.strip().casefold())
    for name in among:
        if name.casefold() == spelling:
            return name
    raise ValueError(f"unknown unit {unit!r}: give {option} as one of {', '.join(among)}")


def force_factor(unit: str) -> float:
    """A unit of forces, such as ``hartree/bohr``, in eV/angstrom.

    Raises
    ------
    ValueError
        There is no such unit.
    """
    energy, _, length = unit.rpartition("/")
    option = "the two parts of --force-unit ENERGY/LENGTH"
    return ENERGY[known(energy, ENERGY, option)] / LENGTH[known(length, LENGTH, option)]
