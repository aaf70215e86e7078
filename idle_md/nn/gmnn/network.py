"""GM-NN, the Gaussian moment neural network."""

from collections.abc import Sequence
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from idle_md.configuration import Count, Positive
from idle_md.nn.backbone import Backbone, BackboneSection
from idle_md.nn.gmnn.gradient import GMNNGradient
from idle_md.nn.gmnn.layers import GaussianMoments, NTKLayer
from idle_md.nn.reverse import readout


class GMNNConfig(BackboneSection):
    """Size of a GM-NN; its heads are linear in the last hidden layer.

    Attributes
    ----------
    layers
        Widths of the hidden layers, the last of them F.
    n_radial
        Radial channels S; 5 of them make 360 invariants.
    n_basis
        Gaussians that each radial channel is made of.
    shortest
        Centre of the innermost Gaussian in angstrom.
    """

    head_hidden = 0
    compiles = True
    name: Literal["gmnn"] = "gmnn"
    layers: Annotated[tuple[Count, ...], Field(min_length=1)] = (256, 256)
    n_radial: Count = 5
    n_basis: Count = 7
    shortest: Positive = Field(
        default=0.5, description="centre of the innermost radial Gaussian, angstrom"
    )


class GMNN(Backbone):
    """Strictly local backbone: Gaussian moments and a network per atom.

    Zaverkin and Kaestner, J. Chem. Theory Comput. 16, 5410 (2020), arXiv 2109.07421, with the
    choices of Zaverkin et al., 17, 6658 (2021): pairs of elements enter by learned coefficients of
    the radial functions, and the network is in the NTK parametrisation,
    ``W x / sqrt(inputs) + 0.1 b`` with weights that start with variance one.

    The features are the last hidden layer times a learned scale per element; the paper's
    scale and shift of atomic energies are that and the reference energies.

    Parameters
    ----------
    elements
        Atomic numbers the model knows, in any order.
    config
        Its size; the cutoff is the receptive field too.

    Raises
    ------
    ValueError
        For an empty element list.
    """

    Config = GMNNConfig

    def __init__(self, elements: Sequence[int], config: GMNNConfig) -> None:
        super().__init__(elements, config)
        self.out_features = config.layers[-1]
        self.descriptor = GaussianMoments(
            len(self.elements), config.n_radial, config.n_basis, config.shortest, config.cutoff
        )
        widths = [self.descriptor.size, *config.layers]
        self.network = nn.ModuleDict(
            {f"layer_{k + 1}": NTKLayer(*widths[k : k + 2]) for k in range(len(config.layers))}
        )
        self.scale = nn.Parameter(torch.ones(len(self.elements)))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the features (N, F) of every atom."""
        element = self.element_index[species]
        features: Tensor = self.descriptor(element, edge_index, edge_vectors)
        for layer in self.network.values():
            features = layer(features)
        return features * self.scale[element].unsqueeze(1)

    def gradient(self, hidden: nn.Linear | None, output: nn.Linear) -> nn.Module:
        """Return the hand-derived pass."""
        return GMNNGradient(
            self.elements,
            self.descriptor,
            [cast(NTKLayer, layer) for layer in self.network.values()],
            self.scale,
            readout(hidden, output),
        )
