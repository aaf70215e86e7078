"""Total charge and spin of a structure, under the names that programs and data sets give them."""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import ase
import numpy as np

_TOTAL, _WHOSE = ("total", "tot", "net", "system"), ("molecular", "mol")
CHARGE = frozenset(
    ("charge", "chargetotal", "qtot", "qtotal", *(f"{each}charge" for each in _TOTAL + _WHOSE))
)
"""Names of the total charge, without capitals and underscores."""
_MULTIPLICITY = frozenset(("multiplicity", "spinmultiplicity", "mult"))
_SPIN = frozenset(("spin", "totalspin"))  # 2S + 1 or 2S
_UNPAIRED = frozenset(
    ["unpaired", "nunpaired", "unpairedelectrons", "numunpairedelectrons", "uhf", "nuhf"]
)
SPIN = _MULTIPLICITY | _SPIN | _UNPAIRED
"""Names of what tells the spin."""


def plain(key: str) -> str:
    """A key without capitals, underscores, hyphens and spaces."""
    return re.sub(r"[\s_-]", "", str(key)).casefold()


def total_charge(values: Mapping[str, Any]) -> int:
    """The total charge among some values by name; 0 where none is given.

    Raises
    ------
    ValueError
        It is no integer, or two names give different ones.
    """
    found = {key: _charge(key, value) for key, value in values.items() if plain(key) in CHARGE}
    if len(set(found.values())) > 1:
        told = " and ".join(f"{key}={value}" for key, value in found.items())
        raise ValueError(f"{told} are two total charges; leave the right one")
    return next(iter(found.values()), 0)


def _charge(key: str, value: Any) -> int:
    try:
        charge = float(value)
    except (TypeError, ValueError):
        charge = np.nan
    if not charge.is_integer():
        raise ValueError(f"{key} is {value!r}; give the total charge, an integer")
    return int(charge)


def multiplicity(values: Mapping[str, Any]) -> int | None:
    """The multiplicity 2S + 1 among some values by name; None where none tells it.

    ``spin`` is a multiplicity or a number of unpaired electrons, depending on who writes it: 0 and
    1 are closed shells.
    """
    for key, value in values.items():
        name, told = plain(key), number(value)
        if name in SPIN and math.isfinite(told):
            return max(1, math.ceil(told + 1 if name in _UNPAIRED else told))
    return None


def open_shell(values: Mapping[str, Any], n_atoms: int) -> str:
    """What says that the electrons are not all paired, such as ``spin=3``; nothing if nothing does.

    Isolated atoms may be open.
    """
    for key, value in values.items():
        if n_atoms > 1 and (multiplicity({key: value}) or 1) > 1:
            return f"{key}={value}"
    return ""


class State(NamedTuple):
    """What is known of the electrons of a structure.

    Attributes
    ----------
    charge
        Total charge in e, None where not known.
    multiplicity
        2S + 1, None where not known.
    """

    charge: float | None = None
    multiplicity: int | None = None


def state_of(atoms: ase.Atoms) -> State:
    """What a structure says of its electrons.

    In ``info``, under the names of total charge and spin, or else by its initial charges and
    magnetic moments, whose sums count.

    Raises
    ------
    ValueError
        As :func:`total_charge`.
    """
    charge: float | None = None
    if any(plain(key) in CHARGE for key in atoms.info):
        charge = total_charge(atoms.info)
    elif atoms.has("initial_charges"):
        charge = float(atoms.get_initial_charges().sum())
    spin = multiplicity(atoms.info)
    if spin is None and atoms.has("initial_magmoms"):
        spin = 1 + round(abs(float(np.sum(atoms.get_initial_magnetic_moments()))))
    return State(charge, spin)


def number(value: Any) -> float:
    """A value as a number, NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan
