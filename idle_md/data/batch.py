"""Batches of geometries with their neighbour lists and labels."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from idle_md.data.edges import Geometries, check_geometries, estimated_edges, joint_edges
from idle_md.data.store import Store

KEPT_BYTES = 1 << 28  # of ready-made neighbour lists
_MOVED = ("species", "positions", "offsets", "energies", "forces", "stresses", "volumes")
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
    stresses
        Stresses in eV/angstrom^3, float64, shape (B, n_fidelities, 6); NaN where not labelled.
    volumes
        Volumes in angstrom^3, float64, shape (B,); infinite where not periodic in all directions.
    """

    species: Tensor
    positions: Tensor
    edge_index: Tensor
    shifts: Tensor
    graph_index: Tensor
    n_graphs: int
    energies: Tensor
    forces: Tensor
    stresses: Tensor
    volumes: Tensor

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
            stresses=self.stresses.to(device),
            volumes=self.volumes.to(device),
        )


class GeometryTensors:
    """All geometries of a store as flat tensors, ready to be batched.

    Their neighbour lists are made once and kept where they take little memory; otherwise those of a
    batch are made with the batch. The batches are the same.

    Parameters
    ----------
    store
        Geometries, G of them with A atoms in total. Arrays are shared with it where types allow.
    cutoff
        Cutoff of the neighbour lists in angstrom.
    fidelities
        Levels whose labels are taken, in this order.
    dtype
        Of positions and forces; energies are float64.
    kept_bytes
        Most memory that neighbour lists may take to be kept, by default 256 MiB. An edge takes
        2 bytes where no geometry has more than 256 atoms, otherwise 8, and its shift 12 in single
        precision where anything is periodic.

    Attributes
    ----------
    energies
        Total energies in eV, shape (G, n_fidelities); NaN where not labelled. Setting an entry to
        NaN hides the label.
    forces
        Forces in eV/angstrom, shape (A, n_fidelities, 3); likewise.
    stresses
        Stresses in eV/angstrom^3, float64, shape (G, n_fidelities, 6); likewise.
    volumes
        Volumes in angstrom^3, float64, shape (G,); infinite where not periodic in all directions.
    offsets
        Geometry ``g`` owns the atoms ``offsets[g]:offsets[g + 1]``, shape (G + 1,).

    Raises
    ------
    ValueError
        The store has no such fidelity, or a neighbour list cannot be made.
    """

    def __init__(
        self,
        store: Store,
        cutoff: float,
        fidelities: Sequence[str],
        dtype: torch.dtype = torch.float32,
        kept_bytes: int | None = None,
    ) -> None:
        self.fidelities = list(fidelities)
        self.cutoff = cutoff
        self.species = torch.from_numpy(store.numbers)  # (A,)
        self.positions = torch.from_numpy(store.positions).to(dtype)  # (A, 3)
        self.offsets = torch.from_numpy(store.offsets)  # (G + 1,)
        self.energies, self.forces, self.stresses = _labels(store, fidelities, dtype)
        self.volumes = torch.from_numpy(store.volume)  # (G,)
        self._geometries = Geometries.of(store)
        most = KEPT_BYTES if kept_bytes is None else kept_bytes
        self._kept = _kept_edges(self._geometries, cutoff, dtype, most)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def device(self) -> torch.device:
        """Where the tensors are, and those of batches will be."""
        return self.species.device

    def to(self, device: torch.device) -> "GeometryTensors":
        """The same geometries on a device; labels that are hidden later are hidden in one alone."""
        moved = copy.copy(self)
        for name in _MOVED:
            setattr(moved, name, getattr(self, name).to(device))
        moved._kept = None if self._kept is None else self._kept.to(device)
        return moved

    def labels(self, indices: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        """Return energies (B, n_fidelities) and forces (N, n_fidelities, 3) of geometries (B,)."""
        index = torch.as_tensor(indices, dtype=torch.int64, device=self.device)
        return self.energies[index], self.forces[self.atoms(index)]

    def atoms(self, indices: Tensor | ArrayLike) -> Tensor:
        """Return which atoms (N,) geometries (B,) own, one geometry after the other."""
        index = torch.as_tensor(indices, dtype=torch.int64, device=self.device)
        return _members(self.offsets, index)[0]

    def batch(self, indices: Tensor | ArrayLike) -> Batch:
        """Join geometries, in the order given, to one graph.

        Parameters
        ----------
        indices
            Geometries, shape (B,).
        """
        index = torch.as_tensor(indices, dtype=torch.int64, device=self.device)
        atoms, n_atoms = _members(self.offsets, index)
        positions = self.positions[atoms]
        edge_index, shifts = self._edges(index, n_atoms)
        return Batch(
            species=self.species[atoms],
            positions=positions,
            edge_index=edge_index,
            shifts=positions.new_zeros(edge_index.shape[1], 3) if shifts is None else shifts,
            graph_index=torch.repeat_interleave(n_atoms),
            n_graphs=len(index),
            energies=self.energies[index],
            forces=self.forces[atoms],
            stresses=self.stresses[index],
            volumes=self.volumes[index],
        )

    def _edges(self, index: Tensor, n_atoms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Edges (2, E) of chosen geometries joined to one graph; shifts where any is not zero."""
        if self._kept is not None:
            return self._kept.joined(index, torch.cumsum(n_atoms, 0) - n_atoms)
        edge_index, shifts = joint_edges(self._geometries.select(index.cpu().numpy()), self.cutoff)
        return torch.from_numpy(edge_index).to(self.device), torch.from_numpy(shifts).to(
            self.positions
        )


def _kept_edges(
    geometries: Geometries, cutoff: float, dtype: torch.dtype, kept_bytes: int
) -> "_KeptEdges | None":
    """All edges if they take ``kept_bytes`` or less; if not, None, once they are checked."""
    number = np.uint8 if geometries.n_atoms.max() <= 256 else np.int32
    edge_bytes = 2 * np.dtype(number).itemsize + 3 * dtype.itemsize * geometries.pbc.any()
    if edge_bytes * estimated_edges(geometries, cutoff) <= kept_bytes:
        return _KeptEdges(geometries, cutoff, dtype, number)
    check_geometries(geometries, cutoff)
    return None


class _KeptEdges:
    """Edges within every geometry, one geometry after the other."""

    def __init__(
        self, geometries: Geometries, cutoff: float, dtype: torch.dtype, number: type[np.integer]
    ) -> None:
        pairs, shifts, counts = [], [], [np.zeros(1, np.int64)]
        for start in range(0, len(geometries), _AT_ONCE):
            part = geometries.select(np.arange(start, min(start + _AT_ONCE, len(geometries))))
            edge_index, shift = joint_edges(part, cutoff)
            geometry = np.repeat(np.arange(len(part)), part.n_atoms)[edge_index[0]]
            within = edge_index - part.offsets[geometry]
            pairs.append(within.astype(number))
            counts.append(np.bincount(geometry, minlength=len(part)))
            if geometries.pbc.any():
                shifts.append(torch.from_numpy(shift).to(dtype))
        self._pairs = torch.from_numpy(np.concatenate(pairs, axis=1))  # (2, E)
        self._shifts = torch.cat(shifts) if shifts else None  # (E, 3)
        self._offsets = torch.from_numpy(np.cumsum(np.concatenate(counts)))  # (G + 1,)

    def to(self, device: torch.device) -> "_KeptEdges":
        """The same on a device."""
        moved = copy.copy(self)
        moved._pairs, moved._offsets = self._pairs.to(device), self._offsets.to(device)
        moved._shifts = None if self._shifts is None else self._shifts.to(device)
        return moved

    def joined(self, index: Tensor, first_atom: Tensor) -> tuple[Tensor, Tensor | None]:
        """Edges (2, E) of geometries whose atoms begin at ``first_atom`` (B,); their shifts."""
        edges, n_edges = _members(self._offsets, index)
        pairs = self._pairs[:, edges].long() + torch.repeat_interleave(first_atom, n_edges)
        return pairs, None if self._shifts is None else self._shifts[edges]


def _labels(
    store: Store, fidelities: Sequence[str], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (G, n_fidelities), forces (A, n_fidelities, 3), stresses (G, n_fidelities, 6)."""
    energies = torch.empty(store.n_geometries, len(fidelities), dtype=torch.float64)
    forces = torch.empty(len(store.numbers), len(fidelities), 3, dtype=dtype)
    stresses = torch.empty(store.n_geometries, len(fidelities), 6, dtype=torch.float64)
    for column, name in enumerate(fidelities):
        labels = store.labels_of(name)
        stresses[:, column] = torch.from_numpy(labels.stress)
        energies[:, column] = torch.from_numpy(labels.energy)
        forces[:, column] = torch.from_numpy(labels.forces)
    return energies, forces, stresses


def _members(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Rows that chosen segments own, one segment after the other, and how many each has."""
    counts = offsets[index + 1] - offsets[index]
    first = torch.cumsum(counts, 0) - counts
    rows = torch.repeat_interleave(offsets[index] - first, counts)
    return rows + torch.arange(len(rows), device=rows.device), counts
