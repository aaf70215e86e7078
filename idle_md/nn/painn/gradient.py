"""PaiNN with one head: atomic energies and their edge gradients by a hand-derived reverse pass."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from idle_md.nn.painn.layers import NORM_EPSILON, Message, Update
from idle_md.nn.radial import RadialBasis
from idle_md.nn.reverse import Dense, by_number, edge_gradients


class Edges(NamedTuple):
    """What the stages read of the edges, and the two sums their reverse halves add to."""

    centre: Tensor  # (E,)
    neighbor: Tensor  # (E,)
    basis: Tensor  # (E, R + 1)
    direction: Tensor  # (E, 3, 1)
    basis_gradient: Tensor  # (E, R + 1)
    direction_gradient: Tensor  # (E, 3)


class PaiNNGradient(nn.Module):
    """Atomic energies of a PaiNN with one head, and their gradients, without autograd.

    The stages are nested: each runs its forward half, calls the stage inside it, and then runs its
    reverse half on the intermediates it still holds. Both halves write over what nobody reads
    again: large systems are limited by memory, small ones by the number of operations. What the
    first interaction sends depends on the element alone and is kept as a table.

    Parameters
    ----------
    elements
        Atomic numbers in ascending order, one per row of the embedding.
    embedding
        Features of the elements.
    basis
        Radial basis.
    messages, updates
        The layers, in turns.
    head
        What :func:`~idle_md.nn.reverse.readout` gives.
    """

    def __init__(
        self,
        elements: Sequence[int],
        embedding: nn.Embedding,
        basis: RadialBasis,
        messages: Sequence[Message],
        updates: Sequence[Update],
        head: nn.Module,
    ) -> None:
        super().__init__()
        first = messages[0]
        own = embedding.weight.detach()
        sent = first.output(silu(first.hidden(own))).detach()
        self.features = first.features
        self.embedding = nn.Buffer(by_number(own, elements))
        self.sent = nn.Buffer(by_number(sent, elements))
        self.filter = nn.Buffer(first.filter.weight.detach().t().contiguous())
        self.basis = copy.deepcopy(basis)
        self.rest = _stages(messages, updates, head)

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return atomic energies (N,) and edge gradients (E, 3), see the edge contract."""
        F = self.features
        distance = torch.linalg.vector_norm(edge_vectors, dim=1)  # (E,)
        inverse = distance.reciprocal().unsqueeze(1)  # (E, 1)
        unit = edge_vectors * inverse  # (E, 3)
        basis, basis_slope = self.basis.with_derivative(distance)  # (E, R + 1) both
        edges = Edges(
            edge_index.select(0, 0),
            edge_index.select(0, 1),
            basis,
            unit.unsqueeze(2),
            torch.zeros_like(basis),
            torch.zeros_like(unit),
        )
        sent = self.sent.index_select(0, species).index_select(0, edges.neighbor)  # (E, 2F)
        message = torch.mm(basis, self.filter).mul_(sent)  # (E, 2F): scalars, along unit
        radial = message.narrow(1, F, F).unsqueeze(1)  # (E, 1, F)
        scalars = self.embedding.index_select(0, species)  # (N, F)
        scalars.index_add_(0, edges.centre, message.narrow(1, 0, F))
        vectors = torch.zeros((len(species), 3, F), dtype=unit.dtype, device=unit.device)
        vectors.index_add_(0, edges.centre, radial * edges.direction)  # (N, 3, F)

        energies, scalar_gradient, vector_gradient = self.rest(scalars, vectors, edges, n_owned)

        received = vector_gradient.index_select(0, edges.centre)  # (E, 3, F)
        product = received * radial  # (E, 3, F)
        edges.direction_gradient.add_(product.sum(2))
        torch.mul(received, edges.direction, out=product)
        gradient = torch.cat([scalar_gradient.index_select(0, edges.centre), product.sum(1)], 1)
        edges.basis_gradient.addmm_(gradient.mul_(sent), self.filter.t())

        slope = edges.basis_gradient.mul_(basis_slope).sum(1, keepdim=True)  # (E, 1)
        return energies, edge_gradients(slope, edges.direction_gradient, unit, inverse)


class _Network(nn.Module):
    """Two layers with a SiLU between; ``forward`` also returns the input of the SiLU."""

    def __init__(self, hidden: nn.Linear, output: nn.Linear) -> None:
        super().__init__()
        self.hidden = Dense(hidden)
        self.output = Dense(output)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.hidden(x)
        return hidden, self.output(silu(hidden))

    @torch.jit.export
    def reverse(self, gradient: Tensor, hidden: Tensor) -> Tensor:
        inner = self.output.reverse(gradient)  # (N, hidden)
        return self.hidden.reverse(torch.ops.aten.silu_backward(inner, hidden))


class _Message(nn.Module):
    """A later interaction's message, in which the neighbours' vectors take part."""

    def __init__(self, message: Message, rest: nn.Module) -> None:
        super().__init__()
        self.features = message.features
        self.network = _Network(message.hidden, message.output)
        self.filter = nn.Buffer(message.filter.weight.detach().t().contiguous())
        self.rest = rest

    def forward(
        self, scalars: Tensor, vectors: Tensor, edges: Edges, n_owned: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        F = self.features
        hidden, outputs = self.network(scalars)  # (N, F), (N, 3F)
        sent = outputs.index_select(0, edges.neighbor)  # (E, 3F)
        filters = torch.mm(edges.basis, self.filter)  # (E, 3F)
        message = sent * filters  # (E, 3F): scalars, along unit, along v_j
        radial = message.narrow(1, F, F).unsqueeze(1)  # (E, 1, F)
        mixing = message.narrow(1, 2 * F, F).unsqueeze(1)  # (E, 1, F)
        neighbors = vectors.index_select(0, edges.neighbor)  # (E, 3, F)
        product = radial * edges.direction  # (E, 3, F)
        scalars.index_add_(0, edges.centre, message.narrow(1, 0, F))
        vectors.index_add_(0, edges.centre, product.addcmul_(mixing, neighbors))

        energies, scalar_gradient, vector_gradient = self.rest(scalars, vectors, edges, n_owned)

        received = vector_gradient.index_select(0, edges.centre)  # (E, 3, F)
        torch.mul(received, radial, out=product)
        edges.direction_gradient.add_(product.sum(2))
        torch.mul(received, edges.direction, out=product)
        gradient = torch.cat(
            [
                scalar_gradient.index_select(0, edges.centre),
                product.sum(1),
                neighbors.mul_(received).sum(1),
            ],
            1,
        )
        vector_gradient.index_add_(0, edges.neighbor, received.mul_(mixing))  # (N, 3, F)
        edges.basis_gradient.addmm_(sent.mul_(gradient), self.filter.t())  # (E, R + 1)
        outputs.zero_().index_add_(0, edges.neighbor, gradient.mul_(filters))  # (N, 3F)
        scalar_gradient.add_(self.network.reverse(outputs, hidden))
        return energies, scalar_gradient, vector_gradient


class _Mixing(nn.Module):
    """What the two kinds of atom-wise update have in common."""

    def __init__(self, update: Update, rest: nn.Module) -> None:
        super().__init__()
        self.features = update.features
        self.epsilon = NORM_EPSILON
        self.mix = nn.Buffer(update.mix.weight.detach().t().contiguous())
        self.network = _Network(update.hidden, update.output)
        self.rest = rest

    def mixed(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the two mixtures of the vectors (N, 3, F), the first's norm, their product."""
        F = self.features
        both = torch.matmul(vectors, self.mix)  # (N, 3, 2F)
        left = both.narrow(2, 0, F)  # (N, 3, F), V v
        right = both.narrow(2, F, F)  # (N, 3, F), U v
        norm = (left * left).sum(1).add_(self.epsilon).sqrt_()  # (N, F)
        return left, right, norm, (left * right).sum(1)

    def reverse(
        self,
        gates: Tensor,
        product: Tensor,
        hidden: Tensor,
        left: Tensor,
        right: Tensor,
        norm: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of the scalars, of ``left`` and of ``right``."""
        F = self.features
        inputs = self.network.reverse(gates, hidden)  # (N, 2F): scalars, norm
        product = product.unsqueeze(1)  # (N, 1, F)
        stretch = inputs.narrow(1, F, F).div_(norm).unsqueeze(1)  # (N, 1, F)
        return (
            inputs.narrow(1, 0, F),
            (stretch * left).addcmul_(product, right),
            product * left,
        )


class _Update(_Mixing):
    """Atom-wise update that hands on scalars and vectors."""

    def forward(
        self, scalars: Tensor, vectors: Tensor, edges: Edges, n_owned: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        F = self.features
        left, right, norm, product = self.mixed(vectors)  # (N, 3, F) twice, (N, F) twice
        hidden, gates = self.network(torch.cat([scalars, norm], 1))  # (N, F), (N, 2F or 3F)
        scale = gates.narrow(1, F, F)
        gate = gates.narrow(1, 2 * F, F).unsqueeze(1)  # (N, 1, F)
        scalars.add_(gates.narrow(1, 0, F)).addcmul_(scale, product)  # (N, F)
        vectors.addcmul_(gate, right)  # (N, 3, F)

        energies, scalar_gradient, vector_gradient = self.rest(scalars, vectors, edges, n_owned)

        gate_gradient = torch.cat(
            [scalar_gradient, scalar_gradient * product, (vector_gradient * right).sum(1)], 1
        )
        inputs, left_gradient, right_gradient = self.reverse(
            gate_gradient, scalar_gradient * scale, hidden, left, right, norm
        )
        right_gradient.addcmul_(vector_gradient, gate)
        mixed = torch.matmul(torch.cat([left_gradient, right_gradient], 2), self.mix.t())
        return energies, scalar_gradient.add_(inputs), vector_gradient.add_(mixed)


class _LastUpdate(_Mixing):
    """Atom-wise update of the last interaction, whose vectors nobody reads."""

    def forward(
        self, scalars: Tensor, vectors: Tensor, edges: Edges, n_owned: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        F = self.features
        left, right, norm, product = self.mixed(vectors)  # (N, 3, F) twice, (N, F) twice
        hidden, gates = self.network(torch.cat([scalars, norm], 1))  # (N, F), (N, 2F or 3F)
        scale = gates.narrow(1, F, F)
        scalars.add_(gates.narrow(1, 0, F)).addcmul_(scale, product)  # (N, F)

        energies, scalar_gradient = self.rest(scalars, n_owned)

        gate_gradient = torch.cat([scalar_gradient, scalar_gradient * product], 1)  # (N, 2F)
        inputs, left_gradient, right_gradient = self.reverse(
            gate_gradient, scalar_gradient * scale, hidden, left, right, norm
        )
        mixed = torch.matmul(torch.cat([left_gradient, right_gradient], 2), self.mix.t())
        return energies, scalar_gradient.add_(inputs), mixed


def _stages(messages: Sequence[Message], updates: Sequence[Update], head: nn.Module) -> nn.Module:
    """Return the stages after the first message, the outermost of them."""
    rest: nn.Module = _LastUpdate(updates[-1], head)
    for message, update in zip(reversed(messages[1:]), reversed(updates[:-1]), strict=True):
        rest = _Update(update, _Message(message, rest))
    return rest
