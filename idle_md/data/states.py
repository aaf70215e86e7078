"""What geometries say of their charge and spin, and what is refused of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.data.store import Store
from idle_md.states import CHARGE, SPIN, number, plain, total_charge, unpaired_electrons


def check_spins(
    places: Sequence[str],
    values: Sequence[Mapping[str, Any]],
    numbers: Sequence[Any],
) -> None:
    """Check that the charges and spins that frames declare are possible.

    Parameters
    ----------
    places
        Names of the frames, G of them, for the message.
    values
        What each says of itself, by name.
    numbers
        Atomic numbers of each.

    Raises
    ------
    ValueError
        One is not.
    """
    for place, each, z in zip(places, values, numbers, strict=True):
        try:
            unpaired_electrons(each, int(np.sum(z)) - total_charge(each))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error


def unpaired_of(store: Store) -> NDArray[np.int64]:
    """Unpaired electrons that the columns of a store declare, none where they say nothing, (G,).

    Raises
    ------
    ValueError
        A geometry cannot have the spin that it is said to have.
    """
    unpaired = np.zeros(store.n_geometries, np.int64)
    columns = {key: column for key, column in store.info.items() if plain(key) in SPIN}
    if not columns:
        return unpaired
    electrons = np.add.reduceat(store.numbers, store.offsets[:-1]) - store.charge
    for index, row in enumerate(zip(*columns.values(), strict=True)):
        try:
            found = unpaired_electrons(dict(zip(columns, row, strict=True)), int(electrons[index]))
        except ValueError as error:
            raise ValueError(f"geometry {index} ({store.group[index]}): {error}") from error
        unpaired[index] = found or 0
    return unpaired


def check_closed_shells(store: Store, what: str) -> None:
    """Check that no geometry of several atoms is declared to be an open shell.

    Parameters
    ----------
    store
        Geometries.
    what
        Who needs closed shells, such as ``sampling``.

    Raises
    ------
    ValueError
        One is.
    """
    unpaired = unpaired_of(store)
    wrong = np.flatnonzero((unpaired > 0) & (store.n_atoms > 1))
    if len(wrong):
        raise ValueError(
            f"geometry {wrong[0]} ({store.group[wrong[0]]}) is an open shell of "
            f"{unpaired[wrong[0]]} unpaired electrons, as are {len(wrong) - 1} others: {what} "
            "knows closed shells alone; leave such geometries out"
        )


def check_one_spin(store: Store) -> None:
    """Check that molecules of the same atoms and charge have one spin: a model sees none.

    Raises
    ------
    ValueError
        Two have different ones.
    """
    unpaired = unpaired_of(store)
    if not unpaired.any():
        return
    counts = store.element_counts(store.elements).astype(np.int64)
    kinds = np.concatenate([counts, store.charge[:, None]], axis=1)
    _, kind = np.unique(kinds, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    first = np.unique(kind, return_index=True)[1][kind]
    wrong = np.flatnonzero(unpaired != unpaired[first])
    if len(wrong):
        one, other = int(first[wrong[0]]), int(wrong[0])
        raise ValueError(
            f"geometries {one} and {other} ({store.group[other]}) are of the same atoms with "
            f"{unpaired[one]} and {unpaired[other]} unpaired electrons, which a model does not "
            "see; train on one of the two states"
        )


def check_states(store: Store) -> None:
    """Check that what the columns of a store say of charge and spin can be true of it.

    Raises
    ------
    ValueError
        A geometry cannot have its spin, or its column of charges has another charge than it.
    """
    unpaired_of(store)
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
