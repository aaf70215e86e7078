"""The layers that PaiNN is made of."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

NORM_EPSILON = 1e-8
"""Added to squared norms of vectors, so that they are smooth where a vector vanishes."""


class Message(nn.Module):
    """Continuous-filter message of scalars and vectors (eqs. 7 and 8)."""

    def __init__(self, features: int, n_radial: int, vectors: bool) -> None:
        super().__init__()
        self.features = features
        self.vectors = vectors
        out = (3 if vectors else 2) * features
        self.hidden = nn.Linear(features, features)
        self.output = nn.Linear(features, out)
        self.filter = nn.Linear(n_radial + 1, out, bias=False)

    def forward(
        self,
        scalars: Tensor,
        vectors: Tensor,
        centre: Tensor,
        neighbor: Tensor,
        basis: Tensor,
        direction: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the scalars (N, F) and vectors (N, 3, F) with the messages added."""
        sent = self.output(silu(self.hidden(scalars)))
        sent = sent.index_select(0, neighbor) * self.filter(basis)
        parts = sent.split(self.features, dim=1)
        moved = parts[1][:, None, :] * direction[:, :, None]
        if self.vectors:
            moved = torch.addcmul(moved, parts[2][:, None, :], vectors.index_select(0, neighbor))
        return scalars.index_add(0, centre, parts[0]), vectors.index_add(0, centre, moved)


class Update(nn.Module):
    """Atom-wise mixing of scalars and vectors (eqs. 9 and 10)."""

    def __init__(self, features: int, vectors: bool) -> None:
        super().__init__()
        self.features = features
        self.vectors = vectors
        self.mix = nn.Linear(features, 2 * features, bias=False)
        self.hidden = nn.Linear(2 * features, features)
        self.output = nn.Linear(features, (3 if vectors else 2) * features)

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the updated scalars (N, F) and vectors (N, 3, F)."""
        left, right = self.mix(vectors).split(self.features, dim=2)
        norm = (left.square().sum(1) + NORM_EPSILON).sqrt()
        gates = self.output(silu(self.hidden(torch.cat([scalars, norm], dim=1))))
        parts = gates.split(self.features, dim=1)
        scalars = scalars + parts[0] + parts[1] * (left * right).sum(1)
        if self.vectors:
            vectors = vectors + parts[2][:, None, :] * right
        return scalars, vectors
