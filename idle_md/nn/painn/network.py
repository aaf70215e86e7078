"""PaiNN, the polarisable atom interaction neural network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from idle_md.nn.backbone import Backbone, edge_geometry
from idle_md.nn.radial import RadialBasis, RadialName

NORM_EPSILON = 1e-8


class PaiNN(Backbone):
    """Equivariant message-passing backbone (Schuett et al., arXiv 2102.03150, eqs. 7-10).

    Outputs that nothing would read are left out: the first interaction has no vector features to
    pass on, and the last one does not update them.

    Parameters
    ----------
    elements
        Atomic numbers the model knows, in any order.
    features
        Width F of the scalar and vector features.
    interactions
        Number of message-passing steps; the receptive field is ``interactions * cutoff``.
    cutoff
        Cutoff in angstrom.
    n_radial, radial
        Size and kind of the radial basis.

    Raises
    ------
    ValueError
        For an empty element list or sizes below one.
    """

    name = "painn"

    def __init__(
        self,
        elements: Sequence[int],
        features: int = 64,
        interactions: int = 2,
        cutoff: float = 5.0,
        n_radial: int = 16,
        radial: RadialName = "bessel",
    ) -> None:
        super().__init__(elements, interactions, cutoff, out_features=features)
        self.features = features
        self.n_radial = n_radial
        self.radial: RadialName = radial
        self.basis = RadialBasis(radial, n_radial, cutoff)
        self.embedding = nn.Embedding(len(self.elements), features)
        self.message = nn.ModuleList(
            Message(features, n_radial, vectors=k > 0) for k in range(interactions)
        )
        self.update = nn.ModuleList(
            Update(features, vectors=k < interactions - 1) for k in range(interactions)
        )

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the scalar features (N, F) of every atom.

        Parameters
        ----------
        species
            Atomic numbers (N,), int64.
        edge_index
            Centres and neighbours (2, E), sorted by centre.
        edge_vectors
            ``r_j - r_i + shift`` (E, 3) in angstrom.
        """
        centre, neighbor = edge_index[0], edge_index[1]
        distance, direction = edge_geometry(edge_vectors)
        basis = self.basis(distance)
        scalars: Tensor = self.embedding(self.element_index[species])
        vectors = scalars.new_zeros((scalars.shape[0], 3, self.features))
        for message, update in zip(self.message, self.update, strict=True):
            scalars, vectors = message(scalars, vectors, centre, neighbor, basis, direction)
            scalars, vectors = update(scalars, vectors)
        return scalars


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
