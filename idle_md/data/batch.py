"""Batches of geometries with their neighbour lists and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from idle_md.data.store import Store
from idle_md.neighbors import neighbor_list


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
        labels = [store.labels_of(name) for name in fidelities]
        self.fidelities = list(fidelities)
        self.cutoff = cutoff
        self.species = torch.from_numpy(store.numbers)  # (A,)
        self.positions = torch.from_numpy(store.positions).to(dtype)  # (A, 3)
        self.offsets = torch.from_numpy(store.offsets)  # (G + 1,)
        self.energies = torch.from_numpy(np.stack([each.energy for each in labels], axis=1))
        self.forces = torch.from_numpy(np.stack([each.forces for each in labels], axis=1)).to(dtype)
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
