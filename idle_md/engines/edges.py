"""Neighbour lists as TorchScript modules, for engines that run inside one."""

from typing import Any

import torch
import vesin_torch  # type: ignore[import-untyped]
from torch import Tensor, nn

from idle_md.deploy import DeployedModel
from idle_md.deploy.model import edge_forces

SKIN = 1.0
"""angstrom by which native lists reach beyond the cutoff; they are made anew when an atom has moved
half of it."""


class VesinEdges(nn.Module):
    """Edges found anew every time, by vesin; open systems must be shorter than its limit.

    Parameters
    ----------
    cutoff
        Longest edge in angstrom.
    dtype
        Of the edge vectors.
    """

    def __init__(self, cutoff: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.neighbors = vesin_torch.NeighborList(cutoff, full_list=True, sorted=True)

    def forward(self, points: Tensor, cell: Tensor, periodic: bool) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3); points (N, 3) are in angstrom."""
        found = self.neighbors.compute(points, cell, periodic, "PD")
        return found[0].t().contiguous(), found[1].to(self.dtype)

    @torch.jit.export
    def forces(self, gradients: Tensor, edge_index: Tensor, n_atoms: int) -> Tensor:
        """Return forces (N, 3) in float64 of edge gradients (E, 3)."""
        return edge_forces(gradients, edge_index, n_atoms)


class NativeEdges(nn.Module):
    """Edges of a native list with a skin.

    Parameters
    ----------
    neighbors
        A ``torch.classes.idle_md.NeighborList``.
    dtype
        Of the edge vectors.
    """

    def __init__(self, neighbors: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.neighbors = neighbors

    def forward(self, points: Tensor, cell: Tensor, periodic: bool) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3); points (N, 3) are in angstrom."""
        edge_index, vectors = self.neighbors.compute(points, cell, [periodic] * 3, self.dtype)
        return edge_index, vectors

    @torch.jit.export
    def forces(self, gradients: Tensor, edge_index: Tensor, n_atoms: int) -> Tensor:
        """Return forces (N, 3) in float64 of edge gradients (E, 3)."""
        total: Tensor = torch.ops.idle_md.edge_forces(gradients, edge_index, n_atoms)
        return total


def edges_for(model: DeployedModel) -> nn.Module:
    """Return the edges that go with a model's kernels."""
    cutoff = model.metadata.cutoff_angstrom
    if model.kernels == "native":
        return NativeEdges(torch.classes.idle_md.NeighborList(cutoff, SKIN), model.dtype)
    return VesinEdges(cutoff, model.dtype)
