"""From an engine's particles to edges and back, as TorchScript modules that run inside it."""

from typing import Any

import torch
import vesin_torch  # type: ignore[import-untyped]
from torch import Tensor, nn

from idle_md.deploy import DeployedModel
from idle_md.deploy.model import edge_forces
from idle_md.neighbors import LARGEST_EXTENT
from idle_md.units import KJ_PER_MOL, NM

SKIN = 0.5
"""angstrom by which native lists reach beyond the cutoff; they are made anew when an atom has moved
half of it."""


class VesinEdges(nn.Module):
    """Edges found anew every time, by vesin; open systems must be shorter than its limit.

    Parameters
    ----------
    cutoff
        Longest edge in angstrom.
    atoms
        Indices (n,) of the particles that the model describes.
    dtype
        Of the edge vectors.
    """

    def __init__(self, cutoff: float, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.angstrom = NM
        self.kj_per_mol = 1.0 / KJ_PER_MOL
        self.farthest = LARGEST_EXTENT
        self.atoms = nn.Buffer(atoms)
        self.neighbors = vesin_torch.NeighborList(cutoff, full_list=True, sorted=True)

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3) in angstrom.

        Parameters
        ----------
        positions
            Of all particles (N, 3) in nm, in any floating-point precision.
        box
            Box vectors as rows (3, 3) in nm of a periodic system.
        """
        points = positions.index_select(0, self.atoms).to(torch.float64) * self.angstrom
        cell = torch.zeros((3, 3), dtype=torch.float64, device=points.device)
        if box is not None:
            cell = box.to(torch.float64) * self.angstrom
        elif not float((points.amax(0) - points.amin(0)).max()) <= self.farthest:
            raise ValueError("the atoms have flown apart")
        found = self.neighbors.compute(points, cell, box is not None, "PD")
        return found[0].t().contiguous(), found[1].to(self.dtype)

    @torch.jit.export
    def totals(
        self, energies: Tensor, gradients: Tensor, edge_index: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the energy in kJ/mol and the forces (N, 3) on all particles in kJ/mol/nm.

        Parameters
        ----------
        energies, gradients
            Of atoms (n,) and edges (E, 3), in eV and angstrom.
        edge_index, positions
            As above.
        """
        forces = edge_forces(gradients, edge_index, len(self.atoms))
        forces.mul_(self.kj_per_mol * self.angstrom)
        everywhere = torch.zeros_like(positions)
        everywhere.index_copy_(0, self.atoms, forces.to(positions.dtype))
        return energies.sum() * self.kj_per_mol, everywhere


class NativeEdges(nn.Module):
    """The same by native operators, with a list that has a skin.

    Parameters
    ----------
    neighbors
        A ``torch.classes.idle_md.NeighborList``.
    atoms, dtype
        As in :class:`VesinEdges`.
    """

    def __init__(self, neighbors: Any, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.angstrom = NM
        self.kj_per_mol = 1.0 / KJ_PER_MOL
        self.atoms = nn.Buffer(atoms)
        self.neighbors = neighbors

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3) in angstrom."""
        edge_index, vectors = self.neighbors.compute_particles(
            positions, box, self.atoms, self.angstrom, self.dtype
        )
        return edge_index, vectors

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


def edges_for(model: DeployedModel, atoms: Tensor) -> nn.Module:
    """Return the edges between some particles that go with a model's kernels."""
    cutoff = model.metadata.cutoff_angstrom
    if model.kernels == "native":
        neighbors = torch.classes.idle_md.NeighborList(cutoff, SKIN)
        return NativeEdges(neighbors, atoms, model.dtype)
    return VesinEdges(cutoff, atoms, model.dtype)
