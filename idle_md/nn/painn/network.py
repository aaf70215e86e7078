"""PaiNN, the polarisable atom interaction neural network."""

from collections.abc import Sequence
from typing import Annotated, Literal, cast

from pydantic import Field
from torch import Tensor, nn

from idle_md.configuration import Count
from idle_md.nn.backbone import Backbone, BackboneSection, edge_geometry
from idle_md.nn.painn.gradient import PaiNNGradient
from idle_md.nn.painn.layers import Message, Update
from idle_md.nn.radial import RadialBasis, RadialName
from idle_md.nn.reverse import readout

# Of the difference between PM6 and GFN2-xTB (benchmarks/expected_changes.py). Blocks are what a
# message adds to scalars, and to vectors along edges and of neighbours, and the terms of an update.
FIRST_CHANGES = {
    "message.hidden.weight": [0.063],
    "message.hidden.bias": [0.177],
    "message.output.weight": [0.032, 0.068],
    "message.output.bias": [0.019],
    "message.filter.weight": [0.012, 0.035],
    "update.mix.weight": [0.074, 0.096],
    "update.hidden.weight": [0.017],
    "update.hidden.bias": [0.118],
    "update.output.weight": [0.017, 0.326, 0.013],
    "update.output.bias": [0.021],
}
LATER_CHANGES = {
    "message.hidden.weight": [0.08],
    "message.hidden.bias": [0.069],
    "message.output.weight": [0.182, 0.021, 0.034],
    "message.output.bias": [0.029],
    "message.filter.weight": [0.149, 0.048, 0.028],
    "update.mix.weight": [0.193, 0.193],
    "update.hidden.weight": [0.27],
    "update.hidden.bias": [0.306],
    "update.output.weight": [0.115, 0.407, 0.115],  # the third is the first one's
    "update.output.bias": [0.144],
}
OTHER_CHANGES = {
    "embedding.weight": [0.029],
    "head.hidden.weight": [0.199],
    "head.hidden.bias": [1.0],
    "head.output.weight": [0.042],
}


class PaiNNConfig(BackboneSection):
    """Size of a PaiNN.

    Attributes
    ----------
    features
        Width F of the scalar and vector features.
    interactions
        Number of message-passing steps; the receptive field is ``interactions * cutoff``.
    n_radial, radial
        Size and kind of the radial basis.
    """

    compiles = True
    algorithm = "muon"
    name: Literal["painn"] = "painn"
    features: Count = 64
    interactions: Count = 2
    n_radial: Annotated[int, Field(gt=1)] = 16
    radial: RadialName = "bessel"


class PaiNN(Backbone):
    """Equivariant message-passing backbone (Schuett et al., arXiv 2102.03150, eqs. 7-10).

    Outputs that nothing would read are left out: the first interaction has no vector features to
    pass on, and the last one does not update them.

    Parameters
    ----------
    elements
        Atomic numbers the model knows, in any order.
    config
        Its size.

    Raises
    ------
    ValueError
        For an empty element list.
    """

    Config = PaiNNConfig

    def __init__(self, elements: Sequence[int], config: PaiNNConfig) -> None:
        super().__init__(elements, config)
        features, n_radial, last = config.features, config.n_radial, config.interactions - 1
        self.features = self.out_features = features
        self.interactions = config.interactions
        self.basis = RadialBasis(config.radial, n_radial, config.cutoff)
        self.embedding = nn.Embedding(len(self.elements), features)
        self.message = nn.ModuleList(
            Message(features, n_radial, vectors=k > 0) for k in range(config.interactions)
        )
        self.update = nn.ModuleList(
            Update(features, vectors=k < last) for k in range(config.interactions)
        )

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the scalar features (N, F) of every atom."""
        centre, neighbor = edge_index[0], edge_index[1]
        distance, direction = edge_geometry(edge_vectors)
        basis = self.basis(distance)
        scalars: Tensor = self.embedding(self.element_index[species])
        vectors = scalars.new_zeros((scalars.shape[0], 3, self.features))
        for message, update in zip(self.message, self.update, strict=True):
            scalars, vectors = message(scalars, vectors, centre, neighbor, basis, direction)
            scalars, vectors = update(scalars, vectors)
        return scalars

    def expected_changes(self) -> dict[str, list[float]]:
        """Return how far weights may move, as measured with two interactions.

        The first of several has numbers of its own, all others have those of the second.
        """
        rows = {name: len(parameter) for name, parameter in self.named_parameters()}
        changes = dict(OTHER_CHANGES)
        for k in range(self.interactions):
            table = FIRST_CHANGES if k == 0 < self.interactions - 1 else LATER_CHANGES
            for name, numbers in table.items():
                layer, tensor = name.split(".", 1)
                place = f"{layer}.{k}.{tensor}"
                changes[place] = numbers[: max(1, rows[place] // self.features)]
        return changes

    def gradient(self, hidden: nn.Linear | None, output: nn.Linear) -> nn.Module:
        """Return the hand-derived pass, which has native operators too."""
        return PaiNNGradient(
            self.elements,
            self.embedding,
            self.basis,
            cast(Sequence[Message], self.message),
            cast(Sequence[Update], self.update),
            readout(hidden, output),
        )
