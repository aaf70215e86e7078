"""Every pair as an edge."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from idle_md.engines.edges.base import Edges


def pairs_of(sizes: Sequence[int]) -> Tensor:
    """Return all pairs (2, E) within each of several systems, sorted by centre.

    Parameters
    ----------
    sizes
        Atoms of every system; atoms are numbered from one system to the next.
    """
    atoms = np.array(sizes, dtype=np.int64)
    others = np.repeat(np.maximum(atoms - 1, 0), atoms)  # (N,)
    first = np.repeat(np.cumsum(atoms) - atoms, atoms)
    centre = np.repeat(np.arange(atoms.sum()), others)
    neighbor = np.arange(len(centre)) - np.repeat(np.cumsum(others) - others, others)
    neighbor += first[centre]
    neighbor += neighbor >= centre
    return torch.from_numpy(np.stack([centre, neighbor]))


class AllPairs(Edges):
    """Every pair of an open system, without a search; the model ignores those beyond its cutoff.

    The number of edges never changes, which CUDA graphs need.

    Parameters
    ----------
    atoms, dtype
        As in :class:`Edges`.
    """

    def __init__(self, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__(atoms, dtype)
        different = ~torch.eye(len(atoms), dtype=torch.bool, device=atoms.device)
        self.pairs = nn.Buffer(different.nonzero().t().contiguous())

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Edges`."""
        if box is not None:
            raise ValueError("neighbors 'torch' is for systems that are not periodic")
        points = positions.index_select(0, self.atoms).to(torch.float64) * self.angstrom
        vectors = points.index_select(0, self.pairs[1]) - points.index_select(0, self.pairs[0])
        return self.pairs, vectors.to(self.dtype)
