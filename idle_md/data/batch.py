"""Batches of geometries with their neighbour lists and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from idle_md.data.store import Store
from idle_md.neighbors import LARGEST_EXTENT, neighbor_list

_MOST_ATOMS = 100  # above, a cell list takes less time than all pairs
_PAIRS_AT_ONCE = 1 << 18


@dataclass
class Batch:
    """Geometries joined to one graph, in the edge convention of the package.

    Attributes
    ----------
    species
        Atomic numbers, shape (N,).
    positions
        Cartesian coordinates in angstrom, shape (N, 3).
    edge_index
        Centre and neighbour of every edge, shape (2, E), sorted by centre.
    shifts
        Lattice translations in angstrom, shape (E, 3).
    graph_index
        Geometry of every atom within the batch, shape (N,).
    n_graphs
        Number of geometries B.
    energies
        Total energies in eV, float64, shape (B, n_fidelities); NaN where not labelled.
    forces
        Forces in eV/angstrom, shape (N, n_fidelities, 3); NaN where not labelled.
    """

    species: Tensor
    positions: Tensor
    edge_index: Tensor
    shifts: Tensor
    graph_index: Tensor
    n_graphs: int
    energies: Tensor
    forces: Tensor

    @classmethod
    def of(
        cls,
        store: Store,
        cutoff: float,
        fidelities: Sequence[str],
        dtype: torch.dtype = torch.float32,
    ) -> "Batch":
        """All geometries of a small store.

        Holds what ``GeometryTensors(store, cutoff, fidelities, dtype)`` makes of all of them, but
        for the order of the edges that have the same centre. Neighbour lists are made for all
        geometries at once, which is some 20 times as fast.

        Raises
        ------
        ValueError
            The store has no such fidelity, or neighbour lists cannot be made.
        """
        edge_index, shifts = _joint_edges(store, cutoff)
        energies, forces = _labels(store, fidelities, dtype)
        n_atoms = torch.from_numpy(store.n_atoms)
        return cls(
            species=torch.from_numpy(store.numbers),
            positions=torch.from_numpy(store.positions).to(dtype),
            edge_index=torch.from_numpy(edge_index),
            shifts=torch.from_numpy(shifts).to(dtype),
            graph_index=torch.repeat_interleave(torch.arange(len(n_atoms)), n_atoms),
            n_graphs=len(n_atoms),
            energies=energies,
            forces=forces,
        )

    @property
    def edge_vectors(self) -> Tensor:
        """Vectors from centre to neighbour in angstrom, shape (E, 3)."""
        centre, neighbor = self.edge_index
        return self.positions[neighbor] - self.positions[centre] + self.shifts

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Batch":
        """The batch on a device; ``dtype`` is that of positions, shifts and forces."""
        return replace(
            self,
            species=self.species.to(device),
            positions=self.positions.to(device, dtype),
            edge_index=self.edge_index.to(device),
            shifts=self.shifts.to(device, dtype),
            graph_index=self.graph_index.to(device),
            energies=self.energies.to(device),
            forces=self.forces.to(device, dtype),
        )


class GeometryTensors:
    """All geometries of a store as flat tensors, with neighbour lists, ready to be batched.

    Parameters
    ----------
    store
        Geometries, G of them with A atoms in total.
    cutoff
        Cutoff of the neighbour lists in angstrom.
    fidelities
        Levels whose labels are taken, in this order.
    dtype
        Of positions and forces; energies are float64.

    Attributes
    ----------
    energies
        Total energies in eV, shape (G, n_fidelities); NaN where not labelled. Setting an entry to
        NaN hides the label.
    forces
        Forces in eV/angstrom, shape (A, n_fidelities, 3); likewise.
    offsets
        Geometry ``g`` owns the atoms ``offsets[g]:offsets[g + 1]``, shape (G + 1,).

    Raises
    ------
    ValueError
        The store has no such fidelity.
    """

    def __init__(
        self,
        store: Store,
        cutoff: float,
        fidelities: Sequence[str],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.fidelities = list(fidelities)
        self.cutoff = cutoff
        self.species = torch.from_numpy(store.numbers)  # (A,)
        self.positions = torch.from_numpy(store.positions).to(dtype)  # (A, 3)
        self.offsets = torch.from_numpy(store.offsets)  # (G + 1,)
        self.energies, self.forces = _labels(store, fidelities, dtype)
        self._edge_index, self._shifts, self._edge_offsets = _edges(store, cutoff, dtype)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(self, indices: Tensor | ArrayLike) -> Batch:
        """Join geometries, in the order given, to one graph.

        Parameters
        ----------
        indices
            Geometries, shape (B,).
        """
        index = torch.as_tensor(indices, dtype=torch.int64)
        atoms, n_atoms = _members(self.offsets, index)
        edges, n_edges = _members(self._edge_offsets, index)
        first_atom = torch.cumsum(n_atoms, 0) - n_atoms
        edge_index = self._edge_index[:, edges].long()
        shifts = self._shifts
        return Batch(
            species=self.species[atoms],
            positions=self.positions[atoms],
            edge_index=edge_index + torch.repeat_interleave(first_atom, n_edges),
            shifts=self.positions.new_zeros(len(edges), 3) if shifts is None else shifts[edges],
            graph_index=torch.repeat_interleave(torch.arange(len(index)), n_atoms),
            n_graphs=len(index),
            energies=self.energies[index],
            forces=self.forces[atoms],
        )


def _labels(store: Store, fidelities: Sequence[str], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Energies (G, n_fidelities) and forces (A, n_fidelities, 3)."""
    labels = [store.labels_of(name) for name in fidelities]
    energies = np.stack([each.energy for each in labels], axis=1)
    forces = np.stack([each.forces for each in labels], axis=1)
    return torch.from_numpy(energies), torch.from_numpy(forces).to(dtype)


def _members(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Rows that chosen segments own, one segment after the other, and how many each has."""
    counts = offsets[index + 1] - offsets[index]
    first = torch.cumsum(counts, 0) - counts
    rows = torch.repeat_interleave(offsets[index] - first, counts)
    return rows + torch.arange(len(rows)), counts


def _edges(store: Store, cutoff: float, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, Tensor]:
    """Edges within every geometry, (2, E) int32; their shifts where any is not zero; offsets."""
    lists = [
        neighbor_list(store.positions[first:last], cutoff, cell, pbc)
        for first, last, cell, pbc in zip(
            store.offsets[:-1], store.offsets[1:], store.cell, store.pbc, strict=True
        )
    ]
    counts = [pairs.shape[1] for pairs, _ in lists]
    edge_index = np.concatenate([pairs.astype(np.int32) for pairs, _ in lists], axis=1)
    shifts = None
    if store.pbc.any():
        shifts = torch.from_numpy(np.concatenate([shift for _, shift in lists])).to(dtype)
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))
    return torch.from_numpy(edge_index), shifts, offsets


def _joint_edges(store: Store, cutoff: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Edges between the atoms of a store, (2, E) sorted by centre, and their shifts (E, 3)."""
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
