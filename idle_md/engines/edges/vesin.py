"""Edges found by vesin."""

import torch
from torch import Tensor

from idle_md.engines.edges.base import Edges


class VesinEdges(Edges):
    """Edges found anew every time, by vesin; open systems must be shorter than its limit.

    Each evaluation makes a list of its own: vesin's keeps what it finds, and several threads may
    evaluate one module, or copies of it, which share what is no tensor.

    Parameters
    ----------
    cutoff
        Longest edge in angstrom.
    atoms, dtype
        As in :class:`Edges`.
    """

    def __init__(self, cutoff: float, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__(atoms, dtype)
        import vesin_torch  # type: ignore[import-untyped]  # noqa: F401  (registers the class)

        self.cutoff = cutoff

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Edges`."""
        points = self.points(positions, box)
        cell = torch.zeros((3, 3), dtype=torch.float64, device=points.device)
        if box is not None:
            cell = box.to(torch.float64) * self.angstrom
        neighbors = torch.classes.vesin._NeighborList(self.cutoff, True, True, "auto")
        found = neighbors.compute(points, cell, torch.tensor(box is not None), "PD", True)
        return found[0].t().contiguous(), found[1].to(self.dtype)
