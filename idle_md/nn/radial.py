"""Radial bases under a smooth cutoff envelope, with their derivatives."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

RadialName = Literal["bessel", "gaussian"]


def envelope(distance: Tensor, cutoff: float) -> Tensor:
    """Polynomial cutoff envelope, twice continuously differentiable at the cutoff.

    ``1 - 28 x^6 + 48 x^7 - 21 x^8`` with ``x = r / cutoff`` (Gasteiger et al., arXiv 2003.03123,
    eq. 8, p = 6), written in its factored form so that it does not cancel near the cutoff.

    Parameters
    ----------
    distance
        Distances in angstrom, any shape.
    cutoff
        Cutoff in angstrom; the result is exactly zero from there on.
    """
    x = (distance / cutoff).clamp(max=1.0)
    polynomial = 1.0 + x * (3.0 + x * (6.0 + x * (10.0 + x * (15.0 + x * 21.0))))
    return (1.0 - x) ** 3 * polynomial


def envelope_with_slope(distance: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Return :func:`envelope` and its derivative in 1/angstrom, ``-168 x^5 (1 - x)^2 / cutoff``."""
    x = (distance / cutoff).clamp(max=1.0)
    polynomial = 1.0 + x * (3.0 + x * (6.0 + x * (10.0 + x * (15.0 + x * 21.0))))
    square = (1.0 - x) ** 2
    return square * (1.0 - x) * polynomial, square * x**5 * (-168.0 / cutoff)


class RadialBasis(nn.Module):
    """Radial functions of a distance, times the envelope.

    ``bessel``: ``sqrt(2 / cutoff) sin(n pi r / cutoff) / r`` (Gasteiger et al., arXiv 2003.03123,
    eq. 7).
    ``gaussian``: equally spaced Gaussians on [0, cutoff] whose width is their spacing.
    One more column, the bare envelope, lets a following matrix product carry a bias that vanishes
    at the cutoff.

    Parameters
    ----------
    kind
        ``"bessel"`` or ``"gaussian"``.
    n_radial
        Number of radial functions R.
    cutoff
        Cutoff in angstrom.
    """

    def __init__(self, kind: RadialName, n_radial: int, cutoff: float) -> None:
        super().__init__()
        if kind not in ("bessel", "gaussian"):
            raise ValueError(f"unknown radial basis {kind!r}: use 'bessel' or 'gaussian'")
        if n_radial < 2 or cutoff <= 0.0:
            raise ValueError(
                f"a radial basis needs n_radial >= 2 and cutoff > 0, got {n_radial} and {cutoff}"
            )
        self.bessel = kind == "bessel"
        self.cutoff = float(cutoff)
        self.width = -0.5 * ((n_radial - 1) / cutoff) ** 2
        nodes = (
            torch.arange(1, n_radial + 1, dtype=torch.float64) * (math.pi / cutoff)
            if self.bessel
            else torch.linspace(0.0, cutoff, n_radial, dtype=torch.float64)
        )
        self.norm = math.sqrt(2.0 / cutoff)
        polynomials = torch.zeros(6, 2)
        polynomials[:, 0] = torch.tensor([1.0, 3.0, 6.0, 10.0, 15.0, 21.0])
        polynomials[5, 1] = -168.0
        self.nodes = nn.Buffer(nodes.to(torch.float32), persistent=False)
        self.exponents = nn.Buffer(torch.arange(6.0), persistent=False)
        self.polynomials = nn.Buffer(polynomials, persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """Return the basis (E, R + 1) at distances (E,) in angstrom."""
        raw = self._raw(distance)
        fade = envelope(distance, self.cutoff)[:, None]
        return torch.cat([raw * fade, fade], dim=1)

    def _raw(self, distance: Tensor) -> Tensor:
        r = distance[:, None]
        if self.bessel:
            return self.norm * torch.sin(r * self.nodes) / r
        return torch.exp(self.width * (r - self.nodes) ** 2)

    @torch.jit.export
    def with_derivative(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the basis and d basis / d distance (1/angstrom), both (E, R + 1).

        In few operations, because their number is what small molecules take time for: one product
        with the powers of x gives the polynomials of the envelope and of its slope,
        ``-168 x^5 (1 - x)^2 / cutoff``.
        """
        r = distance.unsqueeze(1)
        x = (r / self.cutoff).clamp(max=1.0)
        rest = 1.0 - x
        square = rest * rest
        polynomials = torch.mm(torch.pow(x, self.exponents), self.polynomials)
        fade = square * rest * polynomials.narrow(1, 0, 1)
        fade_slope = square * polynomials.narrow(1, 1, 1) / self.cutoff
        if self.bessel:
            angle = r * self.nodes
            wave = torch.sin(angle)
            scale = self.norm * fade / r
            scale_slope = (self.norm * fade_slope - scale) / r
            basis = wave * scale
            slope = torch.addcmul(wave * scale_slope, torch.cos(angle) * self.nodes, scale)
        else:
            offset = r - self.nodes
            raw = torch.exp(self.width * offset * offset)
            basis = raw * fade
            slope = torch.addcmul(raw * fade_slope, 2.0 * self.width * offset, basis)
        return torch.cat([basis, fade], dim=1), torch.cat([slope, fade_slope], dim=1)
