"""Units that a file may be in, by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ase import units

from idle_md.units import GPA, HARTREE, KCAL_PER_MOL, KJ_PER_MOL, NM

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

PRESSURE = {"GPa": GPA, "kbar": 0.1 * GPA, "MPa": 1e-3 * GPA, "bar": 1e-4 * GPA}
"""Units of stress in eV/angstrom^3, beside energy over length^3."""

_PER_VOLUME = re.compile(r"(.+?)/([^/]+)(?:\^3|/\2/\2)")  # eV/angstrom^3 or eV/Ang/Ang/Ang
_ALIASES = {
    "a": "angstrom",
    "ha": "hartree",
    "eh": "hartree",
    "ang": "angstrom",
    "å": "angstrom",
    "a0": "bohr",
}


@dataclass(frozen=True)
class Units:
    """Units that a user gives; None where the file knows.

    Attributes
    ----------
    energy, length
        One of those known.
    forces
        Energy over length, ``hartree/bohr``; the quotient of the others where None.
    stress
        One of :data:`PRESSURE`, or energy over length^3; the quotient of the others where None.
    gradients
        Whether the forces are gradients, of the other sign.
    flipped
        Whether stresses and virials are of the other sign.
    trusted
        Whether units count as they are, without checks.
    """

    energy: str | None = None
    length: str | None = None
    forces: str | None = None
    stress: str | None = None
    gradients: bool = False
    flipped: bool = False
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


def stress_factor(unit: str) -> float:
    """A unit of stress, such as ``GPa`` or ``hartree/bohr^3``, in eV/angstrom^3.

    Raises
    ------
    ValueError
        There is no such unit.
    """
    quotient = _PER_VOLUME.fullmatch(unit.strip())
    if quotient is None:
        return PRESSURE[known(unit, PRESSURE, "--stress-unit ENERGY/LENGTH^3, or it")]
    option = "the two parts of --stress-unit ENERGY/LENGTH^3"
    energy, length = quotient.groups()
    return ENERGY[known(energy, ENERGY, option)] / LENGTH[known(length, LENGTH, option)] ** 3
