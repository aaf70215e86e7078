"""What geometries say of their charge and spin, and what is refused of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.data.store import Store
from idle_md.states import CHARGE, SPIN, number, open_shell, plain


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
    return np.array([number(value) for value in column.tolist()])
