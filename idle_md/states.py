"""Total charge and spin of a structure, under the names that programs and data sets give them."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import ase

_TOTAL, _WHOSE = ("total", "tot", "net", "system"), ("molecular", "mol")
CHARGE = frozenset(
    ("charge", "chargetotal", "qtot", "qtotal", *(f"{each}charge" for each in _TOTAL + _WHOSE))
)
"""Names of the total charge, without capitals and underscores."""
_MULTIPLICITY = frozenset(("multiplicity", "spinmultiplicity", "mult"))
_EITHER = frozenset(("spin", "totalspin"))  # 2S + 1 or 2S
_UNPAIRED = frozenset(
    ["unpaired", "nunpaired", "unpairedelectrons", "numunpairedelectrons", "uhf", "nuhf"]
)
SPIN = _MULTIPLICITY | _EITHER | _UNPAIRED
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


def unpaired_electrons(values: Mapping[str, Any], n_electrons: int) -> int | None:
    """The number of unpaired electrons among some values by name; None where none is given.

    ``spin`` is a multiplicity or a number of unpaired electrons, depending on who writes it: of an
    even number of electrons an even number is unpaired, so one of the two fits.

    Raises
    ------
    ValueError
        So many electrons cannot have that spin, or two names give different ones.
    """
    spins = {key: value for key, value in values.items() if plain(key) in SPIN}
    found = {k: _unpaired(k, v, n_electrons) for k, v in spins.items() if np.isfinite(number(v))}
    if len(set(found.values())) > 1:
        told = " and ".join(f"{key}={spins[key]}" for key in found)
        raise ValueError(f"{told} are two spins; leave the right one")
    return next(iter(found.values()), None)


def _unpaired(key: str, value: Any, n_electrons: int) -> int:
    name, told = plain(key), number(value)
    meant = [told - 1] if name in _MULTIPLICITY else [told]
    if name in _EITHER:
        meant.append(told - 1)
    for unpaired in meant:
        if unpaired in range(n_electrons % 2, n_electrons + 1, 2):
            return int(unpaired)
    raise ValueError(
        f"{key}={value} is no spin of {n_electrons} electrons; correct it, or the charge"
    )


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


def state_of(atoms: "ase.Atoms") -> State:
    """What a structure says of its electrons.

    In ``info``, under the names of total charge and spin, or else by its initial charges and
    magnetic moments, whose sums count.

    Raises
    ------
    ValueError
        As :func:`total_charge` and :func:`unpaired_electrons`.
    """
    charge: float | None = None
    if any(plain(key) in CHARGE for key in atoms.info):
        charge = total_charge(atoms.info)
    elif atoms.has("initial_charges"):
        charge = float(atoms.get_initial_charges().sum())
    unpaired = unpaired_electrons(atoms.info, int(atoms.numbers.sum()) - round(charge or 0.0))
    spin = None if unpaired is None else 1 + unpaired
    if spin is None and atoms.has("initial_magmoms"):
        spin = 1 + round(abs(float(np.sum(atoms.get_initial_magnetic_moments()))))
    return State(charge, spin)


def number(value: Any) -> float:
    """A value as a number, NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan
