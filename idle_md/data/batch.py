"""Batches of geometries with their neighbour lists and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from idle_md.data.edges import joint_edges
from idle_md.data.store import Store

_AT_ONCE = 4096  # geometries, while neighbour lists are made


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

        Equal to the batch that ``GeometryTensors(store, cutoff, fidelities, dtype)`` makes of all
        of them.

        Raises
        ------
        ValueError
            The store has no such fidelity, or neighbour lists cannot be made.
        """
        edge_index, shifts = joint_edges(store, cutoff)
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
    pairs, shifts, counts = [], [], [np.zeros(1, np.int64)]
    for start in range(0, store.n_geometries, _AT_ONCE):
        part = store.select(np.arange(start, min(start + _AT_ONCE, store.n_geometries)))
        edge_index, shift = joint_edges(part, cutoff)
        geometry = np.repeat(np.arange(part.n_geometries), part.n_atoms)[edge_index[0]]
        pairs.append((edge_index - part.offsets[geometry]).astype(np.int32))
        counts.append(np.bincount(geometry, minlength=part.n_geometries))
        if store.pbc.any():
            shifts.append(shift)
    offsets = torch.from_numpy(np.cumsum(np.concatenate(counts)))
    joined = torch.from_numpy(np.concatenate(pairs, axis=1))
    return joined, torch.from_numpy(np.concatenate(shifts)).to(dtype) if shifts else None, offsets
