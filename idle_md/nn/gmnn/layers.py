"""The layers that GM-NN is made of."""

import math
from itertools import combinations_with_replacement, product

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from idle_md.nn.backbone import edge_geometry
from idle_md.nn.radial import envelope

UNIT_SILU = 1.6765324703310907
"""Factor that gives the SiLU of a standard normal variable a mean square of one."""
BIAS = 0.1
"""Factor on biases in the NTK parametrisation."""


class GaussianMoments(nn.Module):
    """Invariants of an atom's environment.

    The moments are ``Psi_L,s = sum_j R_s(r_ij) r^_ij (x) ... (x) r^_ij`` with L = 0 to 3 unit
    vectors and radial channels ``R_s(r) = f(r) sum_k c_(Z_i, Z_j, s, k) phi_k(r) / sqrt(K)``. Eight
    families of invariants are contracted from them: ``Psi_0``; ``Psi_L . Psi_L`` for L = 1, 2, 3;
    and ``Psi_2 Psi_2 Psi_2``, ``Psi_1 Psi_1 Psi_2``, ``Psi_3 Psi_3 Psi_2`` and
    ``Psi_3 Psi_2 Psi_1``, in which every index is met twice. Each set of channels that gives the
    same number is taken once.

    The papers' cosine cutoff has a jump in its second derivative where it ends, so
    :func:`~idle_md.nn.radial.envelope` takes the place of f.

    Parameters
    ----------
    n_elements
        Number of elements; there are coefficients for each ordered pair of them.
    n_radial, n_basis
        Radial channels S and Gaussians K.
    shortest, cutoff
        Centre of the innermost Gaussian and cutoff in angstrom.
    """

    def __init__(
        self, n_elements: int, n_radial: int, n_basis: int, shortest: float, cutoff: float
    ) -> None:
        super().__init__()
        self.n_elements, self.n_radial = n_elements, n_radial
        self.cutoff = float(cutoff)
        self.width = -((n_basis / cutoff) ** 2)
        self.norm = (-2.0 * self.width / math.pi) ** 0.25 / n_basis**0.5
        centres = shortest + (cutoff - shortest) / n_basis * torch.arange(n_basis)
        self.centres = nn.Buffer(centres, persistent=False)
        coefficients = torch.empty(n_elements**2, n_radial, n_basis).uniform_(-1.0, 1.0)
        self.coefficients = nn.Parameter(coefficients)
        self.contractions = Contractions(n_radial)
        self.size = self.contractions.size

    def forward(self, element: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the invariants (N, ``size``).

        Parameters
        ----------
        element
            Positions of the atoms' elements (N,) in the list of elements.
        edge_index, edge_vectors
            (2, E) and (E, 3) in angstrom, see the edge contract.
        """
        centre, neighbor = edge_index[0], edge_index[1]
        distance, direction = edge_geometry(edge_vectors)
        pair = element[centre] * self.n_elements + element[neighbor]
        radial = self.radial(distance, pair)
        moments = radial.new_zeros((element.shape[0], self.n_radial, 20))
        moments = moments.index_add(
            0, centre, radial.unsqueeze(2) * monomials(direction).unsqueeze(1)
        )
        invariants: Tensor = self.contractions(moments)
        return invariants

    def radial(self, distance: Tensor, pair: Tensor) -> Tensor:
        """Return the radial channels (E, S) at distances (E,) of pairs of elements (E,)."""
        offset = distance[:, None] - self.centres
        basis = torch.exp(self.width * offset.square()) * self.norm
        basis = basis * envelope(distance, self.cutoff)[:, None]
        return torch.bmm(self.coefficients[pair], basis.unsqueeze(2)).squeeze(2)


class Contractions(nn.Module):
    """Contraction of moments to the eight families of invariants.

    All products of two moments of one rank that leave two indices open are 3 x 3 matrices. Their
    traces are the invariants of two moments; closed with a second moment they are three families of
    those of three, and the last one is that of different ranks.

    Parameters
    ----------
    n_radial
        Radial channels S.
    """

    def __init__(self, n_radial: int) -> None:
        super().__init__()
        self.n_radial = n_radial
        # Where each entry of a full tensor is among the monomials of its rank.
        self.second = nn.Buffer(_places(2), persistent=False)
        self.third = nn.Buffer(_places(3), persistent=False)
        self.identity = nn.Buffer(torch.eye(3).view(1, 1, 9), persistent=False)
        pairs, distinct = _distinct(n_radial)
        self.pairs = nn.Buffer(pairs, persistent=False)
        self.distinct = nn.Buffer(distinct, persistent=False)
        self.size = n_radial + len(distinct) + n_radial**3

    def forward(self, moments: Tensor) -> Tensor:
        """Return the invariants (N, ``size``) of moments (N, S, 20)."""
        first, second, third = self.full(moments)
        opened, closing = self.opened(first, second, third), self.closing(second)
        return self.joined(moments, first, opened, closing, self.mixed(second, third))

    @torch.jit.export
    def full(self, moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return all components of the moments of rank one to three, (N, S, 3 | 9 | 27)."""
        return (
            moments.narrow(2, 1, 3),
            moments.narrow(2, 4, 6).index_select(2, self.second),
            moments.narrow(2, 10, 10).index_select(2, self.third),
        )

    @torch.jit.export
    def opened(self, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        """Return products of two moments of one rank (N, 3 S (S + 1) / 2, 9), two indices open."""
        s = self.n_radial
        products: list[Tensor] = []
        for moment in (first, second, third):
            rows = moment.reshape(-1, s * 3, moment.shape[2] // 3)
            product = torch.bmm(rows, rows.transpose(1, 2)).view(-1, s, 3, s, 3)
            product = product.transpose(2, 3).reshape(-1, s * s, 9)
            products.append(product.index_select(1, self.pairs))
        return torch.cat(products, dim=1)

    @torch.jit.export
    def closing(self, second: Tensor) -> Tensor:
        """Return what closes open products (N, 1 + S, 9): the identity and the second moments."""
        return torch.cat([self.identity.expand(len(second), 1, 9), second], dim=1)

    @torch.jit.export
    def mixed(self, second: Tensor, third: Tensor) -> Tensor:
        """Return products of third and second moments (N, S S, 3), one index open."""
        s = self.n_radial
        rows = third.reshape(-1, s * 3, 9)
        product = torch.bmm(rows, second.transpose(1, 2)).view(-1, s, 3, s)
        return product.transpose(2, 3).reshape(-1, s * s, 3)

    @torch.jit.export
    def joined(
        self, moments: Tensor, first: Tensor, opened: Tensor, closing: Tensor, mixed: Tensor
    ) -> Tensor:
        """Return the invariants (N, ``size``) from what the other methods give."""
        closed = torch.bmm(opened, closing.transpose(1, 2)).flatten(1)
        crossed = torch.bmm(mixed, first.transpose(1, 2)).flatten(1)
        parts = [moments.select(2, 0), closed.index_select(1, self.distinct), crossed]
        return torch.cat(parts, dim=1)


def monomials(direction: Tensor) -> Tensor:
    """Return the distinct products (E, 20) of no to three components of vectors (E, 3)."""
    x, y, z = direction.unbind(1)
    square = torch.stack([x * x, x * y, x * z, y * y, y * z, z * z], dim=1)
    cubes = torch.stack([y * square[:, 3], y * square[:, 4], y * square[:, 5], z * square[:, 5]], 1)
    one = torch.ones_like(direction[:, :1])
    return torch.cat([one, direction, square, x[:, None] * square, cubes], dim=1)


def _places(rank: int) -> Tensor:
    """Return which monomial each of the 3^rank entries of a symmetric tensor is."""
    order = {axes: k for k, axes in enumerate(combinations_with_replacement(range(3), rank))}
    return torch.tensor([order[tuple(sorted(axes))] for axes in product(range(3), repeat=rank)])


def _distinct(n_radial: int) -> tuple[Tensor, Tensor]:
    """Return the distinct pairs of channels among all, and the distinct closed products.

    Those are told from (3 pair kinds, distinct pairs, trace and channels): traces and products of
    all kinds, but of the product of three second moments each set of channels once.
    """
    pairs = list(combinations_with_replacement(range(n_radial), 2))
    chosen = [
        (kind * len(pairs) + k) * (n_radial + 1) + 1 + channel
        for kind in range(3)
        for k, pair in enumerate(pairs)
        for channel in range(-1, n_radial)
        if kind != 1 or channel == -1 or channel >= pair[1]
    ]
    return torch.tensor([r * n_radial + s for r, s in pairs]), torch.tensor(chosen)


class NTKLayer(nn.Module):
    """Layer ``a silu(W x / sqrt(inputs) + 0.1 b)``, with a mean square of one at the start."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.factor = inputs**-0.5

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs)."""
        inner = torch.addmm(self.bias, x, self.weight.t(), beta=BIAS, alpha=self.factor)
        return UNIT_SILU * silu(inner)
