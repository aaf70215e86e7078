"""Neighbour lists of many geometries at once."""

import numpy as np
from numpy.typing import NDArray

from idle_md.data.store import Store
from idle_md.neighbors import LARGEST_EXTENT, neighbor_list

_MOST_ATOMS = 100  # above, a cell list takes less time than all pairs
_PAIRS_AT_ONCE = 1 << 18


def joint_edges(store: Store, cutoff: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Edges between the atoms of a store, (2, E) sorted by centre, and their shifts (E, 3).

    For small open geometries all pairs are looked at, of all geometries together, which is some 20
    times as fast as one neighbour list after the other.

    Raises
    ------
    ValueError
        A neighbour list cannot be made.
    """
    first = store.offsets[:-1]
    extent = np.maximum.reduceat(store.positions, first) - np.minimum.reduceat(
        store.positions, first
    )
    simple = ~store.pbc.any(axis=1) & (store.n_atoms <= _MOST_ATOMS) & (cutoff > 0)
    simple &= extent.max(axis=1) <= LARGEST_EXTENT  # neighbor_list says what is wrong with others
    n_pairs = (store.n_atoms[simple] ** 2).sum()
    parts = np.array_split(np.flatnonzero(simple), 1 + n_pairs // _PAIRS_AT_ONCE)
    edges = [_all_pairs(store, part, cutoff) for part in parts]
    shifts = [np.zeros((pairs.shape[1], 3)) for pairs in edges]
    for index in np.flatnonzero(~simple):
        mine = slice(store.offsets[index], store.offsets[index + 1])
        pairs, shift = neighbor_list(
            store.positions[mine], cutoff, store.cell[index], store.pbc[index]
        )
        edges.append(pairs + store.offsets[index])
        shifts.append(shift)
    edge_index, shift = np.concatenate(edges, axis=1), np.concatenate(shifts)
    if simple.all():
        return edge_index, shift
    order = np.argsort(edge_index[0], kind="stable")
    return edge_index[:, order], shift[order]


def _all_pairs(store: Store, chosen: NDArray[np.int64], cutoff: float) -> NDArray[np.int64]:
    """Edges (2, E) within geometries without periodicity, of all pairs those that are close."""
    first, n_atoms = store.offsets[chosen], store.n_atoms[chosen]
    partners = np.repeat(n_atoms, n_atoms)
    centre = np.repeat(_ranges(first, n_atoms), partners)
    neighbor = _ranges(np.repeat(first, n_atoms), partners)
    squared = np.zeros(len(centre))
    for coordinate in np.ascontiguousarray(store.positions.T):
        squared += (coordinate[neighbor] - coordinate[centre]) ** 2
    close = np.flatnonzero((squared < cutoff**2) & (centre != neighbor))
    return np.stack([centre[close], neighbor[close]])


def _ranges(first: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """``counts[k]`` integers from ``first[k]`` on, one range after the other."""
    starts = np.cumsum(counts) - counts
    return np.repeat(first - starts, counts) + np.arange(counts.sum())
