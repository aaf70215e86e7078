"""Neighbour lists of many geometries at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idle_md.data.store import Store
from idle_md.neighbors import LARGEST_EXTENT, check_system, neighbor_list

_MOST_ATOMS = 100  # above, a cell list takes less time than all pairs
_PAIRS_AT_ONCE = 1 << 18
_SAMPLE = 100  # geometries that tell how many edges there are


@dataclass(frozen=True)
class Geometries:
    """What neighbour lists depend on, of G geometries with A atoms in total.

    Attributes
    ----------
    positions
        Cartesian coordinates in angstrom, shape (A, 3).
    offsets
        Geometry ``g`` owns the atoms ``offsets[g]:offsets[g + 1]``, shape (G + 1,).
    cell, pbc
        Lattice vectors as rows in angstrom, shape (G, 3, 3), and periodicity, shape (G, 3).
    """

    positions: NDArray[np.float64]
    offsets: NDArray[np.int64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]

    @classmethod
    def of(cls, store: Store) -> "Geometries":
        """Those of a store, whose arrays are shared."""
        return cls(store.positions, store.offsets, store.cell, store.pbc)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Number of atoms of every geometry, shape (G,)."""
        return np.diff(self.offsets)

    def select(self, indices: NDArray[np.int64]) -> "Geometries":
        """Some geometries, in the order given."""
        first = self.offsets[indices]
        n_atoms = self.offsets[indices + 1] - first
        offsets = np.concatenate([[0], np.cumsum(n_atoms)])
        positions = self.positions[_ranges(first, n_atoms)]
        return Geometries(positions, offsets, self.cell[indices], self.pbc[indices])


def joint_edges(
    geometries: Geometries, cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Edges between the atoms of geometries, (2, E) sorted by centre, and their shifts (E, 3).

    The edges of a geometry come in the same order whatever geometries are beside it. For small open
    geometries all pairs are looked at, of all geometries together, which is some 20 times as fast
    as one neighbour list after the other.

    Raises
    ------
    ValueError
        A neighbour list cannot be made.
    """
    simple = _are_simple(geometries, cutoff)
    n_pairs = (geometries.n_atoms[simple] ** 2).sum()
    parts = np.array_split(np.flatnonzero(simple), 1 + n_pairs // _PAIRS_AT_ONCE)
    edges = [_all_pairs(geometries, part, cutoff) for part in parts]
    shifts = [np.zeros((pairs.shape[1], 3)) for pairs in edges]
    for index in np.flatnonzero(~simple).tolist():
        positions, cell, pbc = _one(geometries, index)
        pairs, shift = neighbor_list(positions, cutoff, cell, pbc)
        edges.append(pairs + geometries.offsets[index])
        shifts.append(shift)
    edge_index, shift = np.concatenate(edges, axis=1), np.concatenate(shifts)
    if simple.all():
        return edge_index, shift
    order = np.argsort(edge_index[0], kind="stable")
    return edge_index[:, order], shift[order]


def check_geometries(geometries: Geometries, cutoff: float) -> None:
    """Check that all neighbour lists can be made, without making them.

    Raises
    ------
    ValueError
        One cannot.
    """
    for index in np.flatnonzero(~_are_simple(geometries, cutoff)).tolist():
        positions, cell, pbc = _one(geometries, index)
        check_system(positions, cutoff, cell, pbc)


def estimated_edges(geometries: Geometries, cutoff: float) -> float:
    """About how many edges there are, from some geometries drawn at random.

    Raises
    ------
    ValueError
        A neighbour list cannot be made.
    """
    n_drawn = min(_SAMPLE, len(geometries))
    drawn = np.random.default_rng(0).choice(len(geometries), n_drawn, replace=False)
    edge_index, _ = joint_edges(geometries.select(drawn), cutoff)
    return float(edge_index.shape[1] / n_drawn * len(geometries))


def _are_simple(geometries: Geometries, cutoff: float) -> NDArray[np.bool_]:
    """Which geometries may have all their pairs looked at, (G,); all others must be checked."""
    first = geometries.offsets[:-1]
    extent = np.maximum.reduceat(geometries.positions, first)
    extent -= np.minimum.reduceat(geometries.positions, first)
    is_near: NDArray[np.bool_] = extent.max(axis=1) <= LARGEST_EXTENT
    is_open = ~geometries.pbc.any(axis=1)
    return is_near & is_open & (geometries.n_atoms <= _MOST_ATOMS) & (cutoff > 0)


def _one(
    geometries: Geometries, index: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Positions, cell and periodicity of one geometry."""
    mine = slice(geometries.offsets[index], geometries.offsets[index + 1])
    return geometries.positions[mine], geometries.cell[index], geometries.pbc[index]


def _all_pairs(
    geometries: Geometries, chosen: NDArray[np.int64], cutoff: float
) -> NDArray[np.int64]:
    """Edges (2, E) within geometries without periodicity, of all pairs those that are close."""
    first, n_atoms = geometries.offsets[chosen], geometries.n_atoms[chosen]
    partners = np.repeat(n_atoms, n_atoms)
    centre = np.repeat(_ranges(first, n_atoms), partners)
    neighbor = _ranges(np.repeat(first, n_atoms), partners)
    squared = np.zeros(len(centre))
    for coordinate in np.ascontiguousarray(geometries.positions.T):
        squared += (coordinate[neighbor] - coordinate[centre]) ** 2
    close = np.flatnonzero((squared < cutoff**2) & (centre != neighbor))
    return np.stack([centre[close], neighbor[close]])


def _ranges(first: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """``counts[k]`` integers from ``first[k]`` on, one range after the other."""
    starts = np.cumsum(counts) - counts
    return np.repeat(first - starts, counts) + np.arange(counts.sum())
