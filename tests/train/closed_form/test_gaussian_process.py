"""The closed-form regression against one that is written out in full."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from idle_md.train.closed_form.gaussian_process import (
    BLOCK,
    SMALLEST_ENERGY_NOISE,
    gram,
    most_probable,
    regress,
)

N, SLOPES = 14, 9


def problem(n: int = N, width: int = 6, seed: int = 0) -> tuple[Tensor, ...]:
    """Features of two kinds, counts of two elements that energies alone have, noise, targets."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, width, generator=generator, dtype=torch.float64)
    mean = torch.randint(1, 5, (n, 2), generator=generator).double()
    is_slope = torch.arange(n) % 3 == 2
    mean[is_slope] = 0.0
    noise = 0.01 + 0.02 * torch.rand(n, generator=generator, dtype=torch.float64)
    weights = torch.randn(width, generator=generator, dtype=torch.float64)
    targets = features @ weights + mean @ torch.tensor([3.0, -2.0]).double()
    targets = targets + noise.sqrt() * torch.randn(n, generator=generator, dtype=torch.float64)
    return features, mean, noise, targets, is_slope


def kriging(features, mean, noise, targets, known):
    """Mean and covariance of all points by the linear system of universal kriging, in numpy."""
    x, h, s, y = (np.asarray(each) for each in (features, mean, noise, targets))
    kernel, m = x @ x.T, h.shape[1]
    covariance = kernel[known][:, known] + np.diag(s[known])
    system = np.block([[covariance, h[known]], [h[known].T, np.zeros((m, m))]])
    right = np.vstack([kernel[known], h.T])
    solved = np.linalg.solve(system, right)
    return solved[:-m].T @ y[known], kernel - right.T @ solved


@pytest.mark.parametrize("width", [6, 40], ids=["fewer weights", "fewer targets"])
def test_prediction_and_covariance(width: int) -> None:
    features, mean, noise, targets, _ = problem(width=width)
    known = np.arange(N) < N - 3
    found = regress(features[known], mean[known], noise[known], targets[known])
    expected, covariance = kriging(features, mean, noise, targets, known)
    predicted = features @ found.weights + mean @ found.coefficients
    np.testing.assert_allclose(predicted, expected, atol=1e-8)
    ours = found.covariance(features, mean)
    np.testing.assert_allclose(ours, covariance, atol=1e-8)


@pytest.mark.parametrize("width", [6, 40])
def test_total_energies_do_not_drown_what_is_learned(width: int) -> None:
    features, mean, noise, targets, _ = problem(width=width)
    totals = mean @ torch.tensor([-1000.0, -40.0]).double()
    dependent = torch.cat([mean, mean.sum(1, keepdim=True), mean], dim=1)
    single = features.float()
    found = regress(single, dependent, 1e-3 * noise, targets + totals)
    expected = regress(features, mean, 1e-3 * noise, targets)
    torch.testing.assert_close(found.weights, expected.weights, atol=1e-3, rtol=1e-3)
    fitted = features @ found.weights + dependent @ found.coefficients - totals
    torch.testing.assert_close(
        fitted, features @ expected.weights + mean @ expected.coefficients, atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("width", [6, 40])
def test_left_out_is_what_leaving_out_gives(width: int) -> None:
    features, mean, noise, targets, _ = problem(width=width)
    found = regress(features, mean, noise, targets)
    for rows in (slice(0, 3), slice(5, 6), slice(11, 14)):
        known = np.ones(N, bool)
        known[rows] = False
        predicted, covariance = kriging(features, mean, noise, targets, known)
        errors, ours = found.left_out(rows)
        left = targets[rows].numpy() - predicted[rows]
        np.testing.assert_allclose(errors.numpy(), left, atol=1e-8)
        noisy = covariance[rows, rows] + np.diag(noise[rows])
        np.testing.assert_allclose(ours, noisy, atol=1e-8)


@pytest.mark.parametrize("width", [6, 40])
def test_samples_have_the_mean_and_the_covariance_of_the_posterior(width: int) -> None:
    features, mean, noise, targets, _ = problem(width=width)
    found, generator = regress(features, mean, noise, targets), torch.Generator().manual_seed(1)
    drawn = [found.sample(generator) for _ in range(4000)]
    values = torch.stack([features @ w + mean @ c for w, c in drawn])
    expected = features @ found.weights + mean @ found.coefficients
    covariance = found.covariance(features, mean)
    scale = covariance.diagonal().sqrt()
    off = (values.mean(0) - expected) / scale
    assert float(off.abs().max()) < 0.1
    ratio = values.T.cov() / scale / scale[:, None]
    torch.testing.assert_close(ratio, covariance / scale / scale[:, None], atol=0.15, rtol=0)


def test_both_ways_of_solving_agree() -> None:
    features, mean, noise, targets, _ = problem(n=30, width=12)
    longer = torch.cat([features, torch.zeros(30, 30).double()], dim=1)
    few, many = (regress(x, mean, noise, targets) for x in (features, longer))
    torch.testing.assert_close(few.weights, many.weights[:12])
    torch.testing.assert_close(few.coefficients, many.coefficients)
    torch.testing.assert_close(few.covariance(features, mean), many.covariance(longer, mean))


def test_dependent_columns_get_the_least_norm() -> None:
    features, mean, noise, targets, _ = problem(width=40)
    doubled = torch.cat([mean, mean[:, :1]], dim=1)
    first, second, third = regress(features, doubled, noise, targets).coefficients.tolist()
    alone = regress(features, mean, noise, targets).coefficients.tolist()
    assert first == pytest.approx(third)
    assert [first + third, second] == pytest.approx(alone)


@pytest.mark.parametrize("width", [6, 40])
def test_targets_that_decide_alone_on_a_column_cannot_be_left_out(width: int) -> None:
    features, mean, noise, targets, _ = problem(width=width)
    alone = torch.zeros(N, 1).double()
    alone[4] = 1.0
    found = regress(features, torch.cat([mean, alone], dim=1), noise, targets)
    unknown = [bool(found.left_out(slice(k, k + 1))[0].isnan().all()) for k in range(N)]
    assert unknown == [k == 4 for k in range(N)]


def test_gram_of_many_rows() -> None:
    rows = torch.randn(2 * BLOCK + 7, 3)
    torch.testing.assert_close(gram(rows), (rows @ rows.T).double())


def evidence(kernels: Tensor, targets: Tensor, variances: Tensor, noise: float) -> float:
    covariance = torch.einsum("k,knm->nm", variances, kernels)
    covariance = covariance + noise * torch.eye(len(targets), dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(torch.zeros(len(targets)).double(), covariance)
    return float(normal.log_prob(targets))


def kernels_of(features: Tensor, *widths: int) -> Tensor:
    parts = features.split(widths, dim=1)
    kernels = torch.stack([part @ part.T for part in parts])
    return kernels / kernels.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]


def test_hyperparameters_have_the_highest_evidence() -> None:
    features, _, _, _, _ = problem(n=40, width=9)
    generator = torch.Generator().manual_seed(7)
    targets = features[:, :3].sum(1)
    targets = targets + 0.1 * torch.randn(40, generator=generator, dtype=torch.float64)
    kernels, energies = kernels_of(features, 3, 6), torch.zeros(40, dtype=torch.bool)
    nothing, zeros = torch.zeros(40, 1).double(), torch.zeros(40).double()
    variances, (noise, _) = most_probable(kernels, nothing, targets, energies, zeros)
    assert variances[0] > 10 * variances[1]  # only the first kernel made the targets
    assert 0.05 < math.sqrt(noise) < 0.2
    best = evidence(kernels, targets, variances, noise)
    for factor in (0.5, 2.0):
        assert evidence(kernels, targets, variances, factor * noise) < best
        other = variances * torch.tensor([factor, 1.0])
        assert evidence(kernels, targets, other, noise) < best


def test_noise_of_energies_is_that_of_energies_alone() -> None:
    features, mean, _, targets, is_slope = problem(n=60, width=9)
    kernels, zeros = kernels_of(features, 3, 6), torch.zeros(60).double()
    _, both = most_probable(kernels, mean, targets, is_slope, zeros)
    some = (~is_slope).nonzero()[:, 0]
    block = kernels[:, some][:, :, some]
    _, alone = most_probable(block, mean[some], targets[some], is_slope[some], zeros[some])
    assert both[0] == pytest.approx(alone[0])
    assert both[1] > 0
    assert alone[1] == 0


def test_known_noise_is_not_found_again() -> None:
    features, mean, _, targets, is_slope = problem(n=60, width=9)
    kernels = kernels_of(features, 3, 6)
    generator = torch.Generator().manual_seed(9)
    targets = targets + 0.7 * torch.randn(60, generator=generator, dtype=torch.float64)
    without, within = (
        most_probable(kernels, mean, targets, is_slope, torch.full((60,), known).double())[1]
        for known in (0.0, 0.2)
    )
    assert within[0] < without[0]
    assert within[1] < without[1]


def test_proportional_counts() -> None:
    """Alkenes, as an example: twice as much hydrogen as carbon, and oxygen in some."""
    features, _, _, targets, _ = problem(n=30, width=9)
    carbon = 1.0 + torch.arange(30).double() % 4
    mean = torch.stack([2 * carbon, carbon, (torch.arange(30) % 3 == 0).double()], dim=1)
    kernels, no = kernels_of(features, 3, 6), torch.zeros(30, dtype=torch.bool)
    zeros = torch.zeros(30).double()
    _, (expected, _) = most_probable(kernels, mean[:, 1:], targets, no, zeros)
    shifted = targets + mean @ torch.tensor([-16.0, -1036.0, -2042.0]).double()
    _, (noise, _) = most_probable(kernels, mean, shifted, no, zeros)
    assert noise == pytest.approx(expected, rel=1e-3)


def test_noise_has_a_floor() -> None:
    features, _, _, _, _ = problem(n=40, width=9)
    kernels, energies = kernels_of(features, 3, 6), torch.zeros(40, dtype=torch.bool)
    targets = features[:, :3].sum(1)
    nothing, zeros = torch.zeros(40, 1).double(), torch.zeros(40).double()
    _, (noise, _) = most_probable(kernels, nothing, targets, energies, zeros)
    smallest = SMALLEST_ENERGY_NOISE * float(targets.square().mean())
    assert smallest < noise < 1.5 * smallest


def test_too_few_labels() -> None:
    features, mean, _, targets, _ = problem()
    kernels, no = kernels_of(features, 3, 3), torch.zeros(3, dtype=torch.bool)
    mean = torch.tensor([[1.0, 2.0], [2.0, 1.0], [3.0, 1.0]]).double()
    with pytest.raises(ValueError, match=r"3 labels are too few for 2 elements.*give 4 or more"):
        most_probable(kernels[:, :3, :3], mean, targets[:3], no, torch.zeros(3).double())
