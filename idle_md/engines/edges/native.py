"""Edges found by the native list."""

from typing import Any

import torch
from torch import Tensor

from idle_md.engines.edges.base import Edges


class NativeEdges(Edges):
    """Edges of a native list with a skin, and native operators around it.

    Parameters
    ----------
    neighbors
        A ``torch.classes.idle_md.NeighborList``.
    atoms, dtype
        As in :class:`Edges`.
    """

    def __init__(self, neighbors: Any, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__(atoms, dtype)
        self.neighbors = neighbors

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Edges`."""
        edge_index, vectors = self.neighbors.compute_particles(
            positions, box, self.atoms, self.angstrom, self.dtype
        )
        return edge_index, vectors

    @torch.jit.export
    def problem(self) -> int:
        """Return what was wrong with the list on a GPU, see :class:`Edges`."""
        return int(self.neighbors.problem())

    @torch.jit.export
    def make_room(self) -> None:
        """Double the room of the list on a GPU for neighbours."""
        self.neighbors.make_room()

    @torch.jit.export
    def totals(
        self, energies: Tensor, gradients: Tensor, edge_index: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the energy in kJ/mol and the forces (N, 3) on all particles in kJ/mol/nm."""
        energy, forces = torch.ops.idle_md.particle_forces(
            energies,
            gradients,
            edge_index,
            self.atoms,
            len(positions),
            self.kj_per_mol,
            self.kj_per_mol * self.angstrom,
            positions.dtype,
        )
        return energy, forces
