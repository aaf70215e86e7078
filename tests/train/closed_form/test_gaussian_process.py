"""The closed-form regression against brute force."""

import math

import pytest
import torch
from torch import Tensor

from idle_md.train.closed_form.gaussian_process import GaussianProcess, regress

N = 14


def problem(seed: int = 0) -> tuple[list[Tensor], Tensor, Tensor]:
    """Two kernels of mean variance one, counts of two elements, targets."""
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(N, width, generator=generator).double() for width in (3, 6)]
    kernels = [x @ x.T / (x @ x.T).diagonal().mean() for x in features]
    mean = torch.randint(1, 5, (N, 2), generator=generator).double()
    noise = 0.1 * torch.randn(N, generator=generator).double()
    targets = mean @ torch.tensor([3.0, -2.0]).double() + features[0].sum(1) + noise
    return kernels, mean, targets


def covariance(found: GaussianProcess, kernels: list[Tensor]) -> Tensor:
    weighted = [v * k for v, k in zip(found.variances, kernels, strict=True)]
    return torch.stack(weighted).sum(0)


def brute_force(kernel: Tensor, noise: float, mean: Tensor, targets: Tensor, known: Tensor):
    """Mean and variance of all points by a Gaussian process with a very wide prior on the mean."""
    wide = kernel + 1e3 * mean @ mean.T
    inverse = torch.linalg.inv(wide[known][:, known] + noise * torch.eye(int(known.sum())))
    cross = wide[:, known]
    variance = wide.diagonal() - (cross @ inverse * cross).sum(1)
    return cross @ inverse @ targets[known], variance


def test_leave_one_out_is_what_leaving_one_out_gives() -> None:
    kernels, mean, targets = problem()
    found = regress(kernels, mean, targets)
    kernel = covariance(found, kernels)
    for left in range(N):
        known = torch.arange(N) != left
        predicted, _ = brute_force(kernel, found.noise, mean, targets, known)
        expected = float(targets[left] - predicted[left])
        assert float(found.leave_one_out[left]) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_prediction_and_variance_at_new_points() -> None:
    kernels, mean, targets = problem()
    known = torch.arange(N) < N - 3
    found = regress([k[known][:, known] for k in kernels], mean[known], targets[known])
    kernel = covariance(found, kernels)
    expected, variance = brute_force(kernel, found.noise, mean, targets, known)
    cross = kernel[:, known]
    predicted = cross @ found.alpha + mean @ found.coefficients
    torch.testing.assert_close(predicted, expected, atol=1e-2, rtol=0)
    ours = found.variance(cross, kernel.diagonal(), mean)
    torch.testing.assert_close(ours, variance, atol=1e-3, rtol=2e-2)
    assert (ours[-3:] > ours[:-3].max()).all()


def test_hyperparameters_tell_signal_from_noise() -> None:
    kernels, mean, targets = problem()
    found = regress(kernels, mean, targets)
    assert found.variances[0] > 10 * found.variances[1]  # only the first kernel made the targets
    assert 0.03 < math.sqrt(found.noise) < 0.3  # 0.1


def test_dependent_columns_get_the_least_norm() -> None:
    kernels, mean, targets = problem()
    doubled = torch.cat([mean, mean[:, :1]], dim=1)
    found = regress(kernels, doubled, targets)
    alone = regress(kernels, mean, targets)
    torch.testing.assert_close(found.leave_one_out, alone.leave_one_out)
    first, second, third = found.coefficients.tolist()
    assert first == pytest.approx(third)
    assert first + third == pytest.approx(float(alone.coefficients[0]))
    assert second == pytest.approx(float(alone.coefficients[1]))


def test_target_that_decides_alone_on_a_column_has_no_leave_one_out_error() -> None:
    kernels, mean, targets = problem()
    alone = torch.zeros(N, 1).double()
    alone[4] = 1.0
    left_out = regress(kernels, torch.cat([mean, alone], dim=1), targets).leave_one_out
    assert torch.isnan(left_out).tolist() == [k == 4 for k in range(N)]


def test_too_few_labels() -> None:
    kernels, mean, targets = problem()
    with pytest.raises(ValueError, match=r"3 labels are too few for 2 elements.*give 4 or more"):
        regress([k[:3, :3] for k in kernels], mean[:3], targets[:3])
