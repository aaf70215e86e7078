"""HIP-NN with one head: atomic energies and their edge gradients by a hand-derived reverse pass."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from idle_md.nn.hipnn.edge_tables import gathered, grouped, spread
from idle_md.nn.hipnn.layers import (
    CUSP,
    AtomLayer,
    Block,
    Interaction,
    TensorNorm,
    unit_tensors,
)
from idle_md.nn.radial import envelope_with_slope
from idle_md.nn.reverse import Dense, by_number, edge_gradients


class Edges(NamedTuple):
    """What the stages read of the edges, and the two sums their reverse halves add to.

    Places and widths are those of tables of edges with a row per atom, see :func:`grouped`.
    """

    at_centre: Tensor  # (E,)
    n_centre: int
    at_neighbor: Tensor  # (E,)
    n_neighbor: int
    inverse: Tensor  # (E, 1), one over the distance
    fade: Tensor  # (E, 1)
    fade_slope: Tensor  # (E, 1)
    tensors: Tensor  # (N, n_centre, C)
    distance_gradient: Tensor  # (E, 1)
    tensor_gradient: Tensor  # (E, C)


class HIPNNGradient(nn.Module):
    """Atomic energies of a HIP-NN with one head, and their gradients, without autograd.

    The stages are nested: each runs its forward half, calls the stage inside it, and then runs its
    reverse half on the intermediates it still holds. What the first interaction makes of an atom
    and of its neighbours depends on their elements alone and is kept as a table.

    Parameters
    ----------
    elements
        Atomic numbers in ascending order.
    one_hot
        Codes of the elements (elements, elements).
    blocks
        The interactions, each with its atom layers.
    cutoff
        Cutoff in angstrom.
    tensor_order
        Highest rank of the tensors whose norms take part.
    head
        What :func:`~idle_md.nn.reverse.readout` gives.
    """

    def __init__(
        self,
        elements: Sequence[int],
        one_hot: Tensor,
        blocks: Sequence[Block],
        cutoff: float,
        tensor_order: int,
        head: nn.Module,
    ) -> None:
        super().__init__()
        first = blocks[0]
        parts = [
            one_hot,
            first.shortcut(one_hot) + first.output.bias,
            first.interaction.own(one_hot),
            first.interaction.environment(one_hot),
        ]
        self.cutoff = cutoff
        self.order = tensor_order
        self.width = len(elements) + len(blocks) * first.interaction.features
        self.sizes = [part.shape[1] for part in parts]
        self.table = nn.Buffer(by_number(torch.cat(parts, dim=1).detach(), elements))
        self.environment = _Environment(first.interaction)
        self.output = nn.Buffer(first.output.weight.detach().t().contiguous())
        self.rest = _stages(blocks, len(elements), head)

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return atomic energies (N,) and edge gradients (E, 3), see the edge contract."""
        distance = torch.linalg.vector_norm(edge_vectors, dim=1, keepdim=True)
        inverse = distance.reciprocal()  # (E, 1)
        direction = edge_vectors * inverse  # (E, 3)
        fade, fade_slope = envelope_with_slope(distance, self.cutoff)  # (E, 1) both
        tensors = unit_tensors(direction, self.order)  # (E, C)
        at_centre, n_centre = grouped(edge_index.select(0, 0), len(species), True)
        at_neighbor, n_neighbor = grouped(edge_index.select(0, 1), len(species), False)
        edges = Edges(
            at_centre,
            n_centre,
            at_neighbor,
            n_neighbor,
            inverse,
            fade,
            fade_slope,
            spread(tensors, at_centre, len(species), n_centre),
            torch.zeros_like(inverse),
            torch.zeros_like(tensors),
        )
        parts = self.table.index_select(0, species).split(self.sizes, 1)
        features = parts[0].new_empty((len(species), self.width))
        features.narrow(1, 0, self.sizes[0]).copy_(parts[0])
        _, message, moments = self.environment(parts[3], edges)  # (N, n_centre, F), (N, C, F)
        inner = self.environment.total(parts[2], moments)  # (N, F)
        level = parts[1].addmm(softplus(inner), self.output)  # (N, F)

        energies, gradient, _ = self.rest(level, features, edges, n_owned)

        inner_gradient = softplus_reverse(torch.mm(gradient, self.output.t()), inner)
        self.environment.reverse(inner_gradient, parts[3], message, moments, edges)
        direction_gradient = of_direction(edges.tensor_gradient, direction, self.order)  # (E, 3)
        return energies, edge_gradients(
            edges.distance_gradient, direction_gradient, direction, inverse
        )


def softplus_reverse(gradient: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of the softplus' input from that of its output."""
    result: Tensor = torch.ops.aten.softplus_backward(gradient, x, 1.0, 20.0)
    return result


def of_direction(gradient: Tensor, direction: Tensor, order: int) -> Tensor:
    """Return the gradient (E, 3) of unit vectors from that of their unit tensors (E, C)."""
    if order == 0:
        return torch.zeros_like(direction)
    vector = gradient.narrow(1, 1, 3)
    if order == 1:
        return vector
    x, y, z = direction.unbind(1)
    xy, yz, zx, half = (2.0**0.5 * gradient.narrow(1, 4, 4)).unbind(1)
    axial = gradient.select(1, 8) * (2.0 / 6.0**0.5)
    return vector + torch.stack(
        [
            xy * y + zx * z + (half - axial) * x,
            xy * x + yz * z - (half + axial) * y,
            yz * y + zx * x + 2.0 * axial * z,
        ],
        dim=1,
    )


class _Environment(nn.Module):
    """Sums over the neighbours of an interaction, and the norms of the tensors among them."""

    def __init__(self, interaction: Interaction) -> None:
        super().__init__()
        sensitivities = interaction.sensitivities
        self.number, self.features = interaction.number, interaction.features
        self.sigma = nn.Buffer(sensitivities.sigma.detach().clone())
        self.middle = nn.Buffer((sensitivities.sigma / sensitivities.mu).detach())
        self.norms = nn.ModuleList([_Norm(cast(TensorNorm, norm)) for norm in interaction.norms])

    def _offset(self, edges: Edges) -> Tensor:
        return edges.inverse * self.sigma - self.middle

    def forward(self, offered: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor]:
        """Return tables of sensitivities (N, n_neighbor, nu) and messages (N, n_centre, F), and
        sums over neighbours (N, C, F), of what every atom offers to its neighbours (N, nu F).
        """
        n = len(offered)
        sensitivity = torch.exp(-0.5 * self._offset(edges).square()) * edges.fade  # (E, nu)
        sensitivity = spread(sensitivity, edges.at_neighbor, n, edges.n_neighbor)
        message = torch.bmm(sensitivity, offered.view(n, self.number, self.features))
        message = gathered(message, edges.at_neighbor)  # (E, F)
        message = spread(message, edges.at_centre, n, edges.n_centre)
        return sensitivity, message, torch.bmm(edges.tensors.transpose(1, 2), message)

    @torch.jit.export
    def total(self, own: Tensor, moments: Tensor) -> Tensor:
        """Return the input of the activation (N, F); ``own`` is the atoms' part of it."""
        total = own + moments.select(1, 0)  # (N, F)
        for norm in self.norms:
            total = total + norm(moments)
        return total

    @torch.jit.export
    def reverse(
        self, gradient: Tensor, offered: Tensor, message: Tensor, moments: Tensor, edges: Edges
    ) -> Tensor:
        """Add to the gradients of the edges, and return that of the messages (N, n_neighbor, F).

        ``gradient`` (N, F) is that of :meth:`total`; ``moments`` are written over.
        """
        n = len(offered)
        for norm in self.norms:
            norm.reverse(gradient, moments)  # type: ignore[operator]
        moments.select(1, 0).copy_(gradient)
        tensor_gradient = torch.bmm(message, moments.transpose(1, 2))  # (N, n_centre, C)
        edges.tensor_gradient.add_(gathered(tensor_gradient, edges.at_centre))
        received = gathered(torch.bmm(edges.tensors, moments), edges.at_centre)  # (E, F)
        received = spread(received, edges.at_neighbor, n, edges.n_neighbor)
        rows = offered.view(n, self.number, self.features).transpose(1, 2)  # (N, F, nu)
        sensitivity_gradient = gathered(torch.bmm(received, rows), edges.at_neighbor)  # (E, nu)
        offset = self._offset(edges)  # (E, nu)
        # d/dr of exp(-offset^2 / 2) fade, where d offset / dr = -sigma / r^2
        slope = (offset * self.sigma * (edges.fade * edges.inverse.square())).add_(edges.fade_slope)
        slope = slope.mul_(torch.exp(-0.5 * offset.square())).mul_(sensitivity_gradient)
        edges.distance_gradient.add_(slope.sum(1, keepdim=True))
        return received


class _Norm(nn.Module):
    """Weighted norm of the part of one rank of the sums over neighbours."""

    def __init__(self, norm: TensorNorm) -> None:
        super().__init__()
        self.first, self.size, self.cusp = norm.first, norm.size, CUSP
        self.weight = nn.Buffer(norm.weight.detach().clone())

    def forward(self, moments: Tensor) -> Tensor:
        part = moments.narrow(1, self.first, self.size)  # (N, 2 rank + 1, F)
        return self.weight * (part.square().sum(1) + self.cusp).sqrt()

    @torch.jit.export
    def reverse(self, gradient: Tensor, moments: Tensor) -> None:
        """Write the gradient over the part of ``moments``."""
        part = moments.narrow(1, self.first, self.size)  # (N, 2 rank + 1, F)
        norm = (part.square().sum(1) + self.cusp).sqrt()  # (N, F)
        part.mul_((gradient * self.weight / norm).unsqueeze(1))


class _Interaction(nn.Module):
    """A later interaction, whose neighbours offer what the level before made of them."""

    def __init__(self, block: Block, start: int, rest: nn.Module) -> None:
        super().__init__()
        self.start = start
        self.offer = nn.Buffer(block.interaction.environment.weight.detach().t().contiguous())
        self.environment = _Environment(block.interaction)
        self.own = Dense(block.interaction.own)
        self.output = Dense(block.output)
        self.rest = rest

    def forward(
        self, level: Tensor, features: Tensor, edges: Edges, n_owned: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return energies (N,), gradient of the level (N, F) and of all features."""
        features.narrow(1, self.start, level.shape[1]).copy_(level)
        offered = torch.mm(level, self.offer)  # (N, nu F)
        sensitivity, message, moments = self.environment(offered, edges)
        inner = self.environment.total(self.own(level), moments)  # (N, F)
        after = level + self.output(softplus(inner))  # (N, F)

        energies, gradient, gradients = self.rest(after, features, edges, n_owned)

        inner_gradient = softplus_reverse(self.output.reverse(gradient), inner)  # (N, F)
        received = self.environment.reverse(inner_gradient, offered, message, moments, edges)
        offered = torch.bmm(sensitivity.transpose(1, 2), received).flatten(1)  # (N, nu F)
        gradient = gradient + self.own.reverse(inner_gradient)
        gradient.addmm_(offered, self.offer.t())  # (N, F)
        gradient.add_(gradients.narrow(1, self.start, level.shape[1]))
        return energies, gradient, gradients


class _AtomLayer(nn.Module):
    """On-site layer."""

    def __init__(self, layer: AtomLayer, rest: nn.Module) -> None:
        super().__init__()
        self.hidden = Dense(layer.hidden)
        self.output = Dense(layer.output)
        self.rest = rest

    def forward(
        self, level: Tensor, features: Tensor, edges: Edges, n_owned: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return energies (N,), gradient of the level (N, F) and of all features."""
        inner = self.hidden(level)  # (N, F)
        after = level + self.output(softplus(inner))  # (N, F)

        energies, gradient, gradients = self.rest(after, features, edges, n_owned)

        inner_gradient = softplus_reverse(self.output.reverse(gradient), inner)  # (N, F)
        return energies, gradient + self.hidden.reverse(inner_gradient), gradients


class _Last(nn.Module):
    """The head on the features of all levels."""

    def __init__(self, start: int, head: nn.Module) -> None:
        super().__init__()
        self.start = start
        self.head = head

    def forward(
        self, level: Tensor, features: Tensor, edges: Edges, n_owned: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return energies (N,), gradient of the last level (N, F) and of all features."""
        features.narrow(1, self.start, level.shape[1]).copy_(level)
        energies, gradients = self.head(features, n_owned)  # (N,), (N, elements + n F)
        return energies, gradients.narrow(1, self.start, level.shape[1]), gradients


def _stages(blocks: Sequence[Block], n_elements: int, head: nn.Module) -> nn.Module:
    """Return the stages after the first interaction, the outermost of them."""
    features = blocks[0].interaction.features
    start = n_elements + (len(blocks) - 1) * features
    rest: nn.Module = _Last(start, head)
    for k, block in reversed(list(enumerate(blocks))):
        for layer in reversed(block.atom_layers):
            rest = _AtomLayer(cast(AtomLayer, layer), rest)
        if k > 0:
            start -= features
            rest = _Interaction(block, start, rest)
    return rest
