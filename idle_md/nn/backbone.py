"""What every backbone has in common."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """Atomic features (N, ``out_features``) from species (N,) and edges, see the edge contract.

    A subclass keeps every argument of its constructor in an attribute of the same name.

    Parameters
    ----------
    elements
        Atomic numbers the model knows, in any order.
    interactions
        Number of message-passing steps; the receptive field is ``interactions * cutoff``.
    cutoff
        Cutoff in angstrom.
    out_features
        Width of the features that are returned.

    Raises
    ------
    ValueError
        For an empty element list, sizes below one, or a cutoff that is not positive.
    """

    name: ClassVar[str]
    """What the backbone is called in configurations and metadata."""

    def __init__(
        self, elements: Sequence[int], interactions: int, cutoff: float, out_features: int
    ) -> None:
        super().__init__()
        if not elements or interactions < 1 or out_features < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one element, one feature and one interaction"
            )
        if cutoff <= 0.0:
            raise ValueError(f"{type(self).__name__} needs cutoff > 0 angstrom, got {cutoff}")
        self.elements = sorted(int(z) for z in elements)
        self.interactions = interactions
        self.cutoff = float(cutoff)
        self.out_features = out_features
        lookup = torch.full((max(self.elements) + 1,), -1, dtype=torch.long)
        lookup[self.elements] = torch.arange(len(self.elements))
        self.register_buffer("element_index", lookup, persistent=False)
        self.element_index: Tensor

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Constructor arguments, as plain values."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}


def edge_geometry(edge_vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return lengths (E,) in angstrom and unit vectors (E, 3) of edge vectors (E, 3)."""
    distance = edge_vectors.square().sum(1).sqrt()
    return distance, edge_vectors / distance[:, None]
