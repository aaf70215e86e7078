"""The layers that HIP-NN is made of."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from idle_md.nn.hipnn.edge_tables import gathered, spread
from idle_md.nn.radial import envelope

CUSP = 1e-6
"""Added to squared norms, so that they are smooth where an environment's tensor vanishes."""
LONGEST = 5.5 / 6.5
"""Midpoint of the outermost initial sensitivity over the cutoff, as in the authors' example."""


class Edges(NamedTuple):
    """What interactions read of the edges; places in a table as :func:`grouped` gives them."""

    distance: Tensor  # (E,)
    tensors: Tensor  # (E, C)
    by_centre: tuple[Tensor, int]
    by_neighbor: tuple[Tensor, int]


def unit_tensors(direction: Tensor, order: int) -> Tensor:
    """Return 1, a unit vector and its traceless quadrupole, (E, (order + 1)^2), up to an order.

    The quadrupole ``r r - 1/3`` is given by its five components in an orthonormal basis of the
    traceless symmetric matrices, so that the sum of their squares is its squared Frobenius norm.
    """
    parts = [torch.ones_like(direction[:, :1])]
    if order > 0:
        parts.append(direction)
    if order > 1:
        x, y, z = direction.unbind(1)
        mixed = torch.stack([x * y, y * z, z * x, 0.5 * (x * x - y * y)], dim=1)
        axial = (2.0 * z * z - x * x - y * y) / 6.0**0.5
        parts += [2.0**0.5 * mixed, axial[:, None]]
    return torch.cat(parts, dim=1)


class Sensitivities(nn.Module):
    """Sensitivity functions of the distance, with learned midpoints and widths.

    ``s_nu(r) = exp(-(1/r - 1/mu_nu)^2 sigma_nu^2 / 2) f(r)`` (arXiv 1710.00017). The papers'
    ``f(r) = cos^2(pi r / 2 cutoff)`` has a second derivative of ``pi^2 / 2 cutoff^2`` where
    it ends, so the forces would have a kink there; :func:`~idle_md.nn.radial.envelope` takes its
    place. The midpoints start equally spaced in 1/r.

    Parameters
    ----------
    number
        How many.
    shortest, cutoff
        Innermost initial midpoint and cutoff in angstrom.
    """

    def __init__(self, number: int, shortest: float, cutoff: float) -> None:
        super().__init__()
        self.cutoff = float(cutoff)
        inverse = torch.linspace(1.0 / (LONGEST * cutoff), 1.0 / shortest, number)
        self.mu = nn.Parameter(1.0 / inverse)
        self.sigma = nn.Parameter(torch.full((number,), 2.0 * shortest * number))

    def forward(self, distance: Tensor) -> Tensor:
        """Return the sensitivities (E, nu) at distances (E,) in angstrom."""
        offset = (1.0 / distance[:, None] - 1.0 / self.mu) * self.sigma
        return torch.exp(-0.5 * offset.square()) * envelope(distance, self.cutoff)[:, None]


class Interaction(nn.Module):
    """What an atom's environment and the atom itself give to its features, before the activation.

    Parameters
    ----------
    inputs, features
        Widths of the features that come in and go out.
    sensitivities
        Functions of the distance.
    tensor_order
        Highest rank of the tensors whose norms take part.
    """

    def __init__(
        self, inputs: int, features: int, sensitivities: Sensitivities, tensor_order: int
    ) -> None:
        super().__init__()
        self.inputs, self.features = inputs, features
        self.sensitivities = sensitivities
        self.number = len(sensitivities.mu)
        self.environment = nn.Linear(inputs, self.number * features, bias=False)
        self.own = nn.Linear(inputs, features)
        nn.init.normal_(
            self.environment.weight, std=(2.0 / (self.number * inputs + features)) ** 0.5
        )
        nn.init.xavier_normal_(self.own.weight)
        self.norms = nn.ModuleList(TensorNorm(k, features) for k in range(1, tensor_order + 1))

    def forward(self, level: Tensor, edges: Edges) -> Tensor:
        """Return (N, F) from features (N, inputs)."""
        # The weights act on the atoms before the sum over neighbours does, which the formula has
        # the other way round: fewer operations, and no array of edges times sensitivities times F.
        n = len(level)
        offered = self.environment(level).view(n, self.number, self.features)
        (at_centre, n_centre), (at_neighbor, n_neighbor) = edges.by_centre, edges.by_neighbor
        sensitivity = spread(self.sensitivities(edges.distance), at_neighbor, n, n_neighbor)
        message = gathered(torch.bmm(sensitivity, offered), at_neighbor)  # (E, F)
        tensors = spread(edges.tensors, at_centre, n, n_centre).transpose(1, 2)
        moments = torch.bmm(tensors, spread(message, at_centre, n, n_centre))  # (N, C, F)
        total: Tensor = self.own(level) + moments.select(1, 0)
        for norm in self.norms:
            total = total + norm(moments)
        return total


class TensorNorm(nn.Module):
    """Weighted norm ``t sqrt(|m|^2 + cusp)`` of the part of one rank of moments (N, C, F)."""

    def __init__(self, rank: int, features: int) -> None:
        super().__init__()
        self.first, self.size = rank**2, 2 * rank + 1
        self.weight = nn.Parameter(torch.randn(features))

    def forward(self, moments: Tensor) -> Tensor:
        """Return (N, F)."""
        part = moments.narrow(1, self.first, self.size)
        norm: Tensor = self.weight * (part.square().sum(1) + CUSP).sqrt()
        return norm


class Block(nn.Module):
    """An interaction and the atom layers after it, all residual.

    The first interaction has no features of its own width to add to: they pass a linear map.
    """

    def __init__(self, interaction: Interaction, atom_layers: int) -> None:
        super().__init__()
        inputs, features = interaction.inputs, interaction.features
        same = inputs == features
        self.interaction = interaction
        self.output = nn.Linear(features, features)
        self.shortcut = nn.Identity() if same else nn.Linear(inputs, features, bias=False)
        self.atom_layers = nn.ModuleList(AtomLayer(features) for _ in range(atom_layers))

    def forward(self, level: Tensor, edges: Edges) -> Tensor:
        """Return the features (N, F) of the next level."""
        inner = self.interaction(level, edges)
        level = self.shortcut(level) + self.output(softplus(inner))
        for layer in self.atom_layers:
            level = layer(level)
        return level


class AtomLayer(nn.Module):
    """On-site layer ``z + W' softplus(W z + b) + b'``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, features)
        self.output = nn.Linear(features, features)
        nn.init.xavier_normal_(self.hidden.weight)

    def forward(self, level: Tensor) -> Tensor:
        """Return (N, F)."""
        updated: Tensor = level + self.output(softplus(self.hidden(level)))
        return updated
