"""What a third party writes: a backbone without a reverse pass of its own."""

from typing import Literal

import torch
from torch import Tensor, nn

from idle_md.configuration import Count
from idle_md.nn import Backbone, BackboneSection, RadialBasis, edge_geometry


class Toy(Backbone):
    """Messages that carry sums of distances and directions, twice through the same layer."""

    class Config(BackboneSection):
        name: Literal["toy"] = "toy"
        features: Count = 16

    def __init__(self, elements, config):
        super().__init__(elements, config)
        self.interactions, self.out_features = 2, config.features
        self.basis = RadialBasis("bessel", 8, config.cutoff)
        self.embedding = nn.Embedding(len(elements), config.features)
        self.filter = nn.Linear(9, config.features, bias=False)
        self.mix = nn.Linear(2 * config.features, config.features)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        distance, direction = edge_geometry(edge_vectors)
        tensors = torch.cat([torch.ones_like(direction[:, :1]), direction], 1)  # (E, 4)
        edges = self.filter(tensors[:, :, None] * self.basis(distance)[:, None, :])  # (E, 4, F)
        atoms = self.embedding(self.element_index[species])  # (N, F)
        for _ in range(self.interactions):
            sent = edges * atoms[edge_index[1]][:, None, :]
            total = atoms.new_zeros(len(atoms), 4, atoms.shape[1])
            total = total.index_add(0, edge_index[0], sent)  # (N, 4, F)
            inner = torch.cat([total[:, 0], total[:, 1:].square().sum(1)], 1)
            atoms = atoms + torch.tanh(self.mix(inner))
        return atoms
