"""Neighbour lists in the edge convention of the package."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

from idle_md.cells import check_box, spanning

LARGEST_EXTENT = 1e5
"""angstrom; much longer systems without periodicity end the process inside vesin."""


def neighbor_list(
    positions: NDArray[np.float64],
    cutoff: float,
    cell: NDArray[np.float64] | None = None,
    pbc: bool | Sequence[bool] | NDArray[np.bool_] = False,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All directed pairs closer than a cutoff, sorted by centre.

    The vector of edge ``e`` from centre ``i = edge_index[0, e]`` to neighbour
    ``j = edge_index[1, e]`` is ``positions[j] - positions[i] + shifts[e]``. In small periodic boxes
    a pair may appear several times with different shifts, and an atom may be its own neighbour.

    Parameters
    ----------
    positions
        Cartesian coordinates in angstrom, shape (N, 3).
    cutoff
        Largest distance in angstrom.
    cell
        Lattice vectors as rows in angstrom, shape (3, 3); needed where ``pbc`` is true.
    pbc
        Periodicity, of all three lattice vectors or of each.

    Returns
    -------
    edge_index
        Centre and neighbour of every edge, shape (2, E).
    shifts
        Lattice translations in angstrom, shape (E, 3).

    Raises
    ------
    ValueError
        Positions that are not (N, 3) or not finite, a cutoff that is not positive, a periodic
        direction whose lattice vectors span no volume, or a cell that cannot hold the atoms.
    """
    points = np.ascontiguousarray(positions, dtype=np.float64)
    periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
    box = np.zeros((3, 3)) if cell is None else np.asarray(cell, dtype=np.float64)
    check_system(points, cutoff, box, periodic)
    if len(points) == 0 or (len(points) == 1 and not periodic.any()):
        return np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3))
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    pairs, images = search.compute(
        points, box=spanning(box, periodic), periodic=periodic, quantities="PS"
    )
    edge_index = np.ascontiguousarray(pairs.T, dtype=np.int64)  # (2, E)
    return edge_index, images.astype(np.float64) @ box


class SkinList:
    """The neighbour list of one system over many calls, searched anew only when it has to be.

    A search reaches beyond the cutoff by a skin, and its pairs are used again while the number of
    atoms, ``pbc`` and the periodic lattice vectors stay and no atom has moved by more than half of
    the skin.

    Parameters
    ----------
    cutoff, skin
        In angstrom.

    Attributes
    ----------
    searches
        How often neighbours have been searched.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self.cutoff, self.skin = cutoff, skin
        self.searches = 0
        self._searched: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None
        self._searched = None

    def edges(
        self,
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
        pbc: NDArray[np.bool_],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return edge_index (2, E) and edge_vectors (E, 3) in angstrom of pairs within the cutoff.

        Parameters
        ----------
        positions, cell, pbc
            (N, 3), (3, 3) and (3,), as in :func:`neighbor_list`.

        Raises
        ------
        ValueError
            As :func:`neighbor_list`.
        """
        if not self._is_current(positions, cell, pbc):
            self._searched = None
            self._pairs, self._shifts = neighbor_list(positions, self.cutoff + self.skin, cell, pbc)
            self._searched = positions.copy(), cell[pbc], pbc.copy()
            self.searches += 1
        vectors = positions[self._pairs[1]] - positions[self._pairs[0]] + self._shifts
        near = np.einsum("ea,ea->e", vectors, vectors) < self.cutoff**2
        return np.ascontiguousarray(self._pairs[:, near]), vectors[near]

    def _is_current(
        self, positions: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_]
    ) -> bool:
        if self._searched is None:
            return False
        before, lattice, periodic = self._searched
        if positions.shape != before.shape or not np.array_equal(pbc, periodic):
            return False
        if not np.array_equal(cell[pbc], lattice):
            return False
        squares = np.square(positions - before).sum(1)
        return bool((squares <= (0.5 * self.skin) ** 2).all())  # false where one is no number


def check_system(
    points: NDArray[np.float64],
    cutoff: float,
    box: NDArray[np.float64],
    periodic: NDArray[np.bool_],
) -> None:
    """Check that a system can have a neighbour list.

    Parameters
    ----------
    points, cutoff, box, periodic
        Positions (N, 3), cutoff, cell (3, 3) and periodicity (3,), as in :func:`neighbor_list`.

    Raises
    ------
    ValueError
        As :func:`neighbor_list`.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"positions have shape {points.shape}: neighbour lists need (N, 3)")
    if not np.isfinite(points).all():
        atom = int(np.argwhere(~np.isfinite(points))[0, 0])
        raise ValueError(f"the position of atom {atom} is not a number: {points[atom]}")
    if len(points) and np.ptp(points, axis=0).max() > LARGEST_EXTENT:
        raise ValueError(
            f"the positions span more than {LARGEST_EXTENT:g} angstrom: has the structure flown "
            "apart?"
        )
    if not cutoff > 0:
        raise ValueError(f"the cutoff must be positive, in angstrom: got {cutoff}")
    if box.shape != (3, 3):
        raise ValueError(f"the cell has shape {box.shape}: give three lattice vectors, (3, 3)")
    vectors = box[periodic]
    if len(vectors) and np.linalg.matrix_rank(vectors) < len(vectors):
        raise ValueError(
            f"the cell {box.tolist()} spans no volume along its periodic directions "
            f"{periodic.tolist()}: give lattice vectors in angstrom, or pbc=False"
        )
    if len(vectors) == 3 and len(points):
        check_box(box, len(points))
