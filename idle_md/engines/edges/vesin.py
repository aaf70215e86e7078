"""Edges found by vesin."""

import torch
from torch import Tensor

from idle_md.engines.edges.base import Edges


class VesinEdges(Edges):
    """Edges found anew every time, by vesin; open systems must be shorter than its limit.

    Parameters
    ----------
    cutoff
        Longest edge in angstrom.
    atoms, dtype
        As in :class:`Edges`.
    """

    def __init__(self, cutoff: float, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__(atoms, dtype)
        import vesin_torch  # type: ignore[import-untyped]

        self.neighbors = vesin_torch.NeighborList(cutoff, full_list=True, sorted=True)

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Edges`."""
        points = self.points(positions, box)
        cell = torch.zeros((3, 3), dtype=torch.float64, device=points.device)
        if box is not None:
            cell = box.to(torch.float64) * self.angstrom
        found = self.neighbors.compute(points, cell, box is not None, "PD")
        return found[0].t().contiguous(), found[1].to(self.dtype)
