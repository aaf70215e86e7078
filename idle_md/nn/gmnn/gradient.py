"""GM-NN with one head: atomic energies and their edge gradients by a hand-derived reverse pass."""

import copy
from collections.abc import Sequence
from itertools import combinations_with_replacement

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from idle_md.nn.gmnn.layers import (
    BIAS,
    UNIT_SILU,
    Contractions,
    GaussianMoments,
    NTKLayer,
    monomials,
)
from idle_md.nn.radial import envelope_with_slope
from idle_md.nn.reverse import Dense, by_number, edge_gradients


class GMNNGradient(nn.Module):
    """Atomic energies of a GM-NN with one head, and their gradients, without autograd.

    The factors of the NTK parametrisation are merged into the weights. The stages after the
    moments are nested: each runs its forward half, calls the stage inside it, and then its reverse
    half.

    Parameters
    ----------
    elements
        Atomic numbers in ascending order.
    descriptor
        Gives the invariants.
    layers
        The network on them.
    scale
        Scale of the features per element (elements,).
    head
        What :func:`~idle_md.nn.reverse.readout` gives.
    """

    def __init__(
        self,
        elements: Sequence[int],
        descriptor: GaussianMoments,
        layers: Sequence[NTKLayer],
        scale: Tensor,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.cutoff = descriptor.cutoff
        self.n_elements = len(elements) + 1  # the last one stands for all that are unknown
        self.width = descriptor.width
        self.element = nn.Buffer(_positions(elements))
        self.coefficients = nn.Buffer(_padded(descriptor.coefficients.detach() * descriptor.norm))
        self.centres = nn.Buffer(descriptor.centres.clone())
        self.slopes = nn.Buffer(_slopes_of_monomials().to(descriptor.centres.dtype))
        scaled = _Scaled(by_number(UNIT_SILU * scale.detach(), elements), head)
        self.rest = _Contractions(descriptor.contractions, _stages(layers, scaled))

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return atomic energies (N,) and edge gradients (E, 3), see the edge contract."""
        centre, neighbor = edge_index.select(0, 0), edge_index.select(0, 1)
        distance = torch.linalg.vector_norm(edge_vectors, dim=1, keepdim=True)
        inverse = distance.reciprocal()  # (E, 1)
        direction = edge_vectors * inverse  # (E, 3)
        fade, fade_slope = envelope_with_slope(distance, self.cutoff)  # (E, 1) both
        offset = distance - self.centres  # (E, K)
        basis = torch.exp(self.width * offset.square())  # (E, K)
        element = self.element.index_select(0, species)
        pair = element.index_select(0, centre) * self.n_elements + element.index_select(0, neighbor)
        coefficients = self.coefficients.index_select(0, pair)  # (E, S, K)
        radial = torch.bmm(coefficients, (basis * fade).unsqueeze(2))  # (E, S, 1)
        products = monomials(direction)  # (E, 20)
        moments = radial.new_zeros((len(species), radial.shape[1], products.shape[1]))
        moments.index_add_(0, centre, radial * products.unsqueeze(1))  # (N, S, 20)

        energies, gradient = self.rest(moments, species, n_owned)

        received = gradient.index_select(0, centre)  # (E, S, 20)
        radial_gradient = torch.bmm(received, products.unsqueeze(2))  # (E, S, 1)
        basis_gradient = torch.bmm(radial_gradient.transpose(1, 2), coefficients).squeeze(1)
        slope = (2.0 * self.width * fade * offset).add_(fade_slope).mul_(basis)  # (E, K)
        distance_gradient = slope.mul_(basis_gradient).sum(1, keepdim=True)  # (E, 1)
        product_gradient = torch.bmm(radial.transpose(1, 2), received).squeeze(1)  # (E, 20)
        turned = torch.mm(product_gradient, self.slopes).view(-1, 3, products.shape[1])
        direction_gradient = torch.bmm(turned, products.unsqueeze(2)).squeeze(2)  # (E, 3)
        return energies, edge_gradients(distance_gradient, direction_gradient, direction, inverse)


class _Contractions(nn.Module):
    """From the moments to the invariants."""

    def __init__(self, contractions: Contractions, rest: nn.Module) -> None:
        super().__init__()
        self.forwards = copy.deepcopy(contractions)
        self.n_radial = contractions.n_radial
        self.second = nn.Buffer(contractions.second + 4)
        self.third = nn.Buffer(contractions.third + 10)
        self.rest = rest

    def forward(self, moments: Tensor, species: Tensor, n_owned: int) -> tuple[Tensor, Tensor]:
        """Return energies (N,) and the gradient of the moments (N, S, 20)."""
        s, n = self.n_radial, len(moments)
        first, second, third = self.forwards.full(moments)  # (N, S, 3), (N, S, 9), (N, S, 27)
        opened = self.forwards.opened(first, second, third)  # (N, P, 9) of P pairs, all ranks
        closing = self.forwards.closing(second)  # (N, 1 + S, 9)
        mixed = self.forwards.mixed(second, third)  # (N, S S, 3)
        invariants = self.forwards.joined(moments, first, opened, closing, mixed)

        energies, gradient = self.rest(invariants, species, n_owned)

        parts = gradient.split([s, len(self.forwards.distinct), s * s * s], 1)
        closed = torch.zeros(
            (n, opened.shape[1] * (s + 1)), dtype=second.dtype, device=second.device
        )
        closed.index_copy_(1, self.forwards.distinct, parts[1])
        closed = closed.view(n, opened.shape[1], s + 1)  # (N, P, S + 1)
        first_gradient, second_gradient, third_gradient = self.of_opened(
            torch.bmm(closed, closing), first, second, third
        )
        second_gradient.add_(torch.bmm(closed.transpose(1, 2), opened).narrow(1, 1, s))
        crossed = parts[2].reshape(n, s * s, s)  # (N, S S, S)
        first_gradient.add_(torch.bmm(crossed.transpose(1, 2), mixed))
        rows = torch.bmm(crossed, first).view(n, s, s, 3).transpose(2, 3).reshape(n, s * 3, s)
        third_gradient.add_(torch.bmm(rows, second).view(n, s, 27))
        second_gradient.baddbmm_(rows.transpose(1, 2), third.reshape(n, s * 3, 9))

        found = torch.zeros_like(moments)
        found.select(2, 0).copy_(parts[0])
        found.narrow(2, 1, 3).copy_(first_gradient)
        found.index_add_(2, self.second, second_gradient)
        found.index_add_(2, self.third, third_gradient)
        return energies, found

    def of_opened(
        self, gradient: Tensor, first: Tensor, second: Tensor, third: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of the moments of each rank from that of their open products."""
        s = self.n_radial
        pairs = self.forwards.pairs
        found: list[Tensor] = []
        for kind, moment in enumerate([first, second, third]):
            product = torch.zeros((len(moment), s * s, 9), dtype=moment.dtype, device=moment.device)
            product.index_copy_(1, pairs, gradient.narrow(1, kind * len(pairs), len(pairs)))
            product = product.view(-1, s, s, 3, 3).transpose(2, 3).reshape(-1, s * 3, s * 3)
            rows = moment.reshape(-1, s * 3, moment.shape[2] // 3)  # (N, 3 S, 1 | 3 | 9)
            found.append(torch.bmm(product + product.transpose(1, 2), rows).view(moment.shape))
        return found[0], found[1], found[2]


class _Layer(nn.Module):
    """A hidden layer of the network."""

    def __init__(self, layer: nn.Linear, rest: nn.Module) -> None:
        super().__init__()
        self.layer = Dense(layer)
        self.rest = rest

    def forward(self, x: Tensor, species: Tensor, n_owned: int) -> tuple[Tensor, Tensor]:
        """Return energies (N,) and the gradient of the input."""
        inner = self.layer(x)  # (N, outputs)
        energies, gradient = self.rest(silu(inner), species, n_owned)
        return energies, self.layer.reverse(torch.ops.aten.silu_backward(gradient, inner))


class _Scaled(nn.Module):
    """The scale per element, and the head."""

    def __init__(self, scale: Tensor, head: nn.Module) -> None:
        super().__init__()
        self.scale = nn.Buffer(scale)
        self.head = head

    def forward(self, x: Tensor, species: Tensor, n_owned: int) -> tuple[Tensor, Tensor]:
        """Return energies (N,) and the gradient of the input."""
        scale = self.scale.index_select(0, species).unsqueeze(1)  # (N, 1)
        energies, gradient = self.head(x * scale, n_owned)
        return energies, gradient.mul_(scale)


def _stages(layers: Sequence[NTKLayer], rest: nn.Module) -> nn.Module:
    """Return the network and what comes after it, the outermost layer."""
    for k, layer in reversed(list(enumerate(layers))):
        rest = _Layer(_merged(layer, UNIT_SILU if k > 0 else 1.0), rest)
    return rest


@torch.no_grad()
def _merged(layer: NTKLayer, gain: float) -> nn.Linear:
    """Return the layer without factors; its input is to be multiplied by ``gain``."""
    outputs, inputs = layer.weight.shape
    linear = nn.Linear(inputs, outputs, dtype=layer.weight.dtype)
    linear.weight.copy_(layer.weight * (layer.factor * gain))
    linear.bias.copy_(layer.bias * BIAS)
    return linear


def _positions(elements: Sequence[int]) -> Tensor:
    """Return the position of every atomic number among the elements; the last if it is unknown."""
    positions = torch.full((max(elements) + 1,), len(elements))
    positions[torch.as_tensor(elements)] = torch.arange(len(elements))
    return positions


def _padded(coefficients: Tensor) -> Tensor:
    """Return coefficients of pairs (n^2, S, K) with NaN for one more element."""
    n = round(len(coefficients) ** 0.5)
    shape = coefficients.shape[1:]
    padded = coefficients.new_full((n + 1, n + 1, *shape), torch.nan)
    padded[:n, :n] = coefficients.detach().view(n, n, *shape)
    return padded.view(-1, *shape)


def _slopes_of_monomials() -> Tensor:
    """Return the matrix (20, 3 * 20) that takes monomials to their derivatives along x, y, z."""
    names = [axes for rank in range(4) for axes in combinations_with_replacement(range(3), rank)]
    slopes = torch.zeros(20, 3, 20)
    for row, axes in enumerate(names):
        for axis in set(axes):
            rest = list(axes)
            rest.remove(axis)
            slopes[row, axis, names.index(tuple(rest))] = axes.count(axis)
    return slopes.view(20, 60)
