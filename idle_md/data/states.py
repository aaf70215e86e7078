"""Charge and spin under the names that programs and data sets give them."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.data.store import Store

_TOTAL, _WHOSE = ("total", "tot", "net", "system"), ("molecular", "mol")
CHARGE = frozenset(
    ("charge", "chargetotal", "qtot", "qtotal", *(f"{each}charge" for each in _TOTAL + _WHOSE))
)
"""Names of the total charge, without capitals and underscores."""
_MULTIPLICITY = frozenset(("multiplicity", "spinmultiplicity", "mult"))
_SPIN = frozenset(("spin", "totalspin"))  # 2S + 1 or 2S
_UNPAIRED = frozenset(
    ("unpaired", "nunpaired", "unpairedelectrons", "numunpairedelectrons", "uhf", "nuhf")
)
SPIN = frozenset(["spin", "totalspin"])  # 2S + 1 or 2S
_UNPAIRED = frozenset(
    ["unpaired", "nunpaired", "unpairedelectrons", "numunpairedelectrons", "uhf", "nuhf"]
)
SPIN = _MULTIPLICITY | _SPIN | _UNPAIRED
"""Names of what tells the spin."""


def plain(key: str) -> str:
    """A key without capitals, underscores, hyphens and spaces."""
    return re.sub(r"[\s_-]", "", key).casefold()


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


def open_shell(values: Mapping[str, Any], n_atoms: int) -> str:
    """What says that the electrons are not all paired, such as ``spin=3``; nothing if nothing does.

    ``spin`` is a multiplicity or a number of unpaired electrons, depending on who writes it: 0 and
    1 are closed shells. Isolated atoms may be open.
    """
    for key, value in values.items():
        closed = 1 if plain(key) in _MULTIPLICITY | _SPIN else 0
        if plain(key) in SPIN and n_atoms > 1 and _number(value) > closed:
            return f"{key}={value}"
    return ""


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def check_closed_shells(places: list[str], values: list[Mapping[str, Any]], n_atoms: Any) -> None:
    """Check that no frame is declared to be an open shell.

    Parameters
    ----------
    places
        Names of the frames, G of them, for the message.
    values
        What each says of itself, by name.
    n_atoms
        Number of atoms of each, shape (G,).

    Raises
    ------
    ValueError
        One is.
    """
    told = [open_shell(each, int(n)) for each, n in zip(values, n_atoms, strict=True)]
    wrong = [index for index, text in enumerate(told) if text]
    if wrong:
        raise ValueError(
            f"{places[wrong[0]]}: {told[wrong[0]]} is an open shell, as are {len(wrong) - 1} other "
            "frames; levels and models here are those of closed shells: leave such frames out"
        )


def check_states(store: Store) -> None:
    """Check that what the columns of a store say of charge and spin is true of it.

    Raises
    ------
    ValueError
        A geometry is declared to be an open shell, or its column of charges has another than it.
    """
    spins = {key: column for key, column in store.info.items() if plain(key) in SPIN}
    if spins:
        rows = [dict(zip(spins, row, strict=True)) for row in zip(*spins.values(), strict=True)]
        places = [f"geometry {index} ({name})" for index, name in enumerate(store.group)]
        check_closed_shells(places, list(rows), store.n_atoms)
    for key, column in store.info.items():
        if plain(key) in CHARGE:
            charge = _numbers(column)
            wrong = np.flatnonzero(np.isfinite(charge) & (charge != store.charge))
            if len(wrong):
                raise ValueError(
                    f"geometry {wrong[0]} ({store.group[wrong[0]]}) has the charge "
                    f"{store.charge[wrong[0]]}, but its column {key} says {column[wrong[0]]}: "
                    "convert or import the set again from its source"
                )


def _numbers(column: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([_number(value) for value in column.tolist()])
