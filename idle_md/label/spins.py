"""Open shells: which geometries are, and which levels know them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idle_md.data import Store
from idle_md.data.states import unpaired_of
from idle_md.label.journal import locked
from idle_md.label.merging import store_lock
from idle_md.label.programs.base import Level

COLUMN = "unpaired"


def declared(path: Path, wanted: NDArray[np.bool_], spin: int) -> Store:
    """Have a store declare that some of its geometries have so many unpaired electrons.

    Raises
    ------
    ValueError
        One of them declares another number, cannot have so many, or has labels of closed shells.
    """
    with locked(store_lock(path), "spins", wait=True):
        store = Store.read(path)
        known = unpaired_of(store)
        labelled = np.zeros(store.n_geometries, np.bool_)
        for name in store.fidelities:
            labelled |= store.has_energy(name) | store.has_forces(name)
        wrong = np.flatnonzero(wanted & labelled & (known != spin))
        if len(wrong):
            raise ValueError(
                f"{path}: geometry {wrong[0]} ({store.group[wrong[0]]}) has labels with "
                f"{known[wrong[0]]} unpaired electrons, as have {len(wrong) - 1} others: label "
                "those of --spin in a store of their own"
            )
        column = store.info.get(COLUMN, np.full(store.n_geometries, np.nan)).astype(np.float64)
        column[wanted] = spin
        changed = replace(store, info={**store.info, COLUMN: column})
        unpaired_of(changed)
        changed.write(path)
        return changed


def check_spins_of(level: Level, store: Store, wanted: NDArray[np.bool_]) -> None:
    """Check that a level knows the spins of some geometries.

    Raises
    ------
    ValueError
        One is an open shell, and the level is of closed shells alone.
    """
    wrong = np.flatnonzero(wanted & (unpaired_of(store) > 0))
    if len(wrong) and not getattr(level, "knows_spins", False):
        raise ValueError(
            f"{level.theory.title} is of closed shells alone, and {len(wrong)} geometries have "
            f"unpaired electrons, such as {wrong[0]} ({store.group[wrong[0]]}): take another level"
        )
