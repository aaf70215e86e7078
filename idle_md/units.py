"""Units as multiples of those used throughout: eV, angstrom, amu."""

from ase import units

HARTREE: float = units.Hartree
"""One hartree in eV."""

KCAL_PER_MOL: float = units.kcal / units.mol
"""One kcal/mol in eV."""

KJ_PER_MOL: float = units.kJ / units.mol
"""One kJ/mol in eV."""

GPA: float = units.GPa
"""One gigapascal in eV/angstrom^3."""

NM: float = units.nm
"""One nanometre in angstrom."""
