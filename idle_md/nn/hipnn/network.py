"""HIP-NN, the hierarchically interacting particle neural network, with tensor sensitivities."""

from collections.abc import Sequence
from typing import Annotated, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from idle_md.configuration import Count, Positive
from idle_md.nn.backbone import Backbone, BackboneSection, edge_geometry
from idle_md.nn.hipnn.edge_tables import grouped
from idle_md.nn.hipnn.gradient import HIPNNGradient
from idle_md.nn.hipnn.layers import (
    LONGEST,
    Block,
    Edges,
    Interaction,
    Sensitivities,
    unit_tensors,
)
from idle_md.nn.reverse import readout


class HIPNNConfig(BackboneSection):
    """Size of a HIP-NN; its heads are linear in every interaction level.

    Attributes
    ----------
    features
        Width F of each level.
    interactions
        Number n of interaction layers; the receptive field is ``interactions * cutoff``.
    n_sensitivities
        Number of sensitivity functions per interaction.
    atom_layers
        On-site layers after each interaction.
    tensor_order
        0 for distances alone, 1 for vectors, 2 for quadrupoles as well.
    shortest
        Midpoint of the innermost initial sensitivity in angstrom.
    """

    head_hidden = 0
    compiles = False  # the width of its tables depends on the edges
    name: Literal["hipnn"] = "hipnn"
    features: Count = 64
    interactions: Count = 2
    n_sensitivities: Annotated[int, Field(gt=1)] = 20
    atom_layers: Annotated[int, Field(ge=0)] = 4
    tensor_order: Literal[0, 1, 2] = 2
    shortest: Positive = Field(
        default=0.75, description="midpoint of the innermost initial sensitivity, angstrom"
    )

    @model_validator(mode="after")
    def _sensitivities_fit(self) -> "HIPNNConfig":
        longest = LONGEST * self.cutoff
        if self.shortest >= longest:
            raise ValueError(f"HIPNN needs 0 < shortest < {longest:.4g}, got {self.shortest}")
        return self


class HIPNN(Backbone):
    """Message-passing backbone HIP-NN (Lubbers et al., arXiv 1710.00017) with tensor order.

    An interaction is ``sum_j sum_nu V_nu s_nu(r_ij) z_j + W z_i + b``. Tensor sensitivities
    (HIP-NN-TS, Chigaev et al., arXiv 2212.03195) add ``t_1`` times the norm of the same sum over
    neighbours with the unit vector to each as a factor, and ``t_2`` times that with its traceless
    quadrupole. Interactions and the on-site atom layers after them are residual.

    The features are those of all levels side by side, ``[z^0, ..., z^n]``, the first of them a
    one-hot code of the element, so that a linear head on them is the paper's linear energy per
    interaction level.

    Parameters
    ----------
    elements
        Atomic numbers the model knows, in any order.
    config
        Its size; the cutoff is the papers' hard maximum distance.

    Raises
    ------
    ValueError
        For an empty element list.
    """

    Config = HIPNNConfig

    def __init__(self, elements: Sequence[int], config: HIPNNConfig) -> None:
        super().__init__(elements, config)
        features = config.features
        self.features = features
        self.interactions = config.interactions
        self.out_features = len(self.elements) + config.interactions * features
        self.tensor_order: int = config.tensor_order
        self.one_hot = nn.Buffer(torch.eye(len(self.elements)), persistent=False)
        self.blocks = nn.ModuleList(
            Block(
                Interaction(
                    features if k else len(self.elements),
                    features,
                    Sensitivities(config.n_sensitivities, config.shortest, config.cutoff),
                    config.tensor_order,
                ),
                config.atom_layers,
            )
            for k in range(config.interactions)
        )

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the features (N, elements + n F) of every atom."""
        distance, direction = edge_geometry(edge_vectors)
        edges = Edges(
            distance,
            unit_tensors(direction, self.tensor_order),
            grouped(edge_index[0], len(species), is_sorted=True),
            grouped(edge_index[1], len(species), is_sorted=False),
        )
        level = self.one_hot[self.element_index[species]]
        levels = [level]
        for block in self.blocks:
            level = block(level, edges)
            levels.append(level)
        return torch.cat(levels, dim=1)

    def gradient(self, hidden: nn.Linear | None, output: nn.Linear) -> nn.Module:
        """Return the hand-derived pass."""
        return HIPNNGradient(
            self.elements,
            self.one_hot,
            cast(Sequence[Block], self.blocks),
            self.cutoff,
            self.tensor_order,
            readout(hidden, output),
        )
