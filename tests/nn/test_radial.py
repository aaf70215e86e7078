import pytest
import torch

from idle_md.nn import RadialBasis
from idle_md.nn.radial import envelope

CUTOFF = 4.0
DISTANCES = torch.linspace(0.4, 4.6, 85, dtype=torch.float64)
KINDS = ["bessel", "gaussian"]


def basis_of(kind: str) -> RadialBasis:
    return RadialBasis(kind, 8, CUTOFF).to(torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_basis_is_the_same_with_its_derivative(kind) -> None:
    basis = basis_of(kind)
    torch.testing.assert_close(
        basis.with_derivative(DISTANCES)[0], basis(DISTANCES), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("kind", KINDS)
def test_derivative_is_that_of_autograd(kind) -> None:
    basis = basis_of(kind)
    slope = torch.autograd.functional.jacobian(lambda r: basis(r).sum(0), DISTANCES)  # (R + 1, E)
    torch.testing.assert_close(
        basis.with_derivative(DISTANCES)[1], slope.t(), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_left_from_the_cutoff_on(kind, dtype) -> None:
    basis = RadialBasis(kind, 8, CUTOFF).to(dtype)
    outside = torch.tensor([CUTOFF, CUTOFF + 1e-6, 5.0, 1e4], dtype=dtype)
    values, slopes = basis.with_derivative(outside)
    assert not values.any()
    assert not slopes.any()
    assert not basis(outside).any()


def test_envelope_is_one_at_zero_and_twice_differentiable_at_the_cutoff() -> None:
    at_zero = envelope(torch.zeros(1, dtype=torch.float64), CUTOFF)
    assert float(at_zero) == 1.0
    step = 1e-3
    inside = envelope(torch.tensor([CUTOFF - step, CUTOFF - 2 * step], dtype=torch.float64), CUTOFF)
    assert 0.0 < inside[0] < 0.13 * inside[1]  # third order: 1 / 8


def test_bessel_functions_are_those_of_the_paper() -> None:
    r = torch.tensor([1.3], dtype=torch.float64)
    n = torch.arange(1, 9, dtype=torch.float64)
    expected = (2 / CUTOFF) ** 0.5 * torch.sin(n * torch.pi * r / CUTOFF) / r
    found = basis_of("bessel")(r)[0]
    torch.testing.assert_close(found[:-1] / found[-1], expected, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fourier", 8, 4.0), "'bessel' or 'gaussian'"),
        (("bessel", 1, 4.0), "n_radial >= 2"),
        (("bessel", 8, 0.0), "cutoff > 0"),
    ],
)
def test_bad_settings_are_errors(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        RadialBasis(*arguments)
