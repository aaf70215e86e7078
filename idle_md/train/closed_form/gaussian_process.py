"""Gaussian-process regression of a few energies, in closed form.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006): the mean is that of section
2.7 in the limit of a flat prior, hyperparameters have the highest evidence under it (equation
2.45), and leave-one-out errors are those of section 5.4.2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LOOSE_PRIOR = 0.01  # on the logarithms of the hyperparameters, so that none of them runs away
STEPS = 200
SMALLEST_VARIANCE = 1e-12  # eV^2, of labels that the mean explains completely


@dataclass(frozen=True)
class GaussianProcess:
    """A regression on n targets with K kernels and m columns of the mean.

    Attributes
    ----------
    variances
        Of each kernel (K,), eV^2.
    noise
        Variance of the targets themselves, eV^2.
    alpha
        Dual coefficients (n,), 1/eV.
    coefficients
        Of the columns of the mean (m,), eV; those of least norm where the columns are dependent.
    leave_one_out
        Target less its prediction from all others (n,), eV; NaN where the others say nothing of a
        column of the mean.
    """

    variances: Tensor
    noise: float
    alpha: Tensor
    coefficients: Tensor
    leave_one_out: Tensor
    _inverse: Tensor
    _mean: Tensor

    def variance(self, cross: Tensor, prior: Tensor, mean: Tensor) -> Tensor:
        """Return the posterior variance (B,) in eV^2 of new points, without noise.

        Parameters
        ----------
        cross, prior
            Covariance (B, n) with the targets, and with themselves (B,), all kernels together.
        mean
            Columns of the mean (B, m).
        """
        normal = torch.linalg.pinv(self._mean.T @ self._inverse @ self._mean, hermitian=True)
        explained = cross @ self._inverse
        rest = mean - explained @ self._mean
        variance = prior - (explained * cross).sum(1) + ((rest @ normal) * rest).sum(1)
        return torch.relu(variance)


def regress(kernels: Sequence[Tensor], mean: Tensor, targets: Tensor) -> GaussianProcess:
    """Fit targets by a linear mean and a sum of kernels, the hyperparameters by evidence.

    Parameters
    ----------
    kernels
        Covariances (n, n), each of mean variance one, float64.
    mean
        Columns of the mean (n, m), unpenalised.
    targets
        (n,) in eV.

    Raises
    ------
    ValueError
        If there are not at least two more targets than independent columns.
    """
    free = _complement(mean)
    stacked = torch.stack(list(kernels))
    projected = torch.einsum("na,knm,mb->kab", free, stacked, free)
    logarithms = _most_probable(projected, free.T @ targets)
    covariance = _covariance(stacked, logarithms)
    precision = free @ torch.linalg.inv(_covariance(projected, logarithms)) @ free.T
    alpha = precision @ targets
    # The mean follows a target that alone decides on one of its columns, wherever it is.
    alone = free.square().sum(1) < 1e-9
    return GaussianProcess(
        variances=logarithms[:-1].exp(),
        noise=math.exp(float(logarithms[-1])),
        alpha=alpha,
        coefficients=torch.linalg.pinv(mean) @ (targets - covariance @ alpha),
        leave_one_out=(alpha / precision.diagonal()).masked_fill(alone, torch.nan),
        _inverse=torch.linalg.inv(covariance),
        _mean=mean,
    )


def _complement(mean: Tensor) -> Tensor:
    """Return an orthonormal basis (n, n - rank) of what the mean (n, m) cannot explain."""
    basis, _ = torch.linalg.qr(mean, mode="complete")
    rank = int(torch.linalg.matrix_rank(mean))
    if len(mean) < rank + 2:
        raise ValueError(
            f"{len(mean)} labels are too few for {rank} elements that their compositions tell "
            f"apart: give {rank + 2} or more"
        )
    free: Tensor = basis[:, rank:]
    return free


def _covariance(kernels: Tensor, logarithms: Tensor) -> Tensor:
    noise: Tensor = logarithms[-1].exp() * torch.eye(kernels.shape[1], dtype=kernels.dtype)
    return torch.einsum("k,knm->nm", logarithms[:-1].exp(), kernels) + noise


def _most_probable(kernels: Tensor, targets: Tensor) -> Tensor:
    """Return the logarithms of variances and noise (K + 1,) of the highest evidence."""
    start = math.log(float(targets.square().mean()) + SMALLEST_VARIANCE)
    logarithms = torch.full((len(kernels) + 1,), start - math.log(len(kernels)))
    logarithms[-1] = start - 4.0
    logarithms = logarithms.to(targets.dtype).requires_grad_(True)
    search = torch.optim.LBFGS([logarithms], 0.5, STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        factor = torch.linalg.cholesky(_covariance(kernels, logarithms))
        whitened = torch.linalg.solve_triangular(factor, targets[:, None], upper=False)
        loss: Tensor = 0.5 * whitened.square().sum() + factor.diagonal().log().sum()
        loss = loss + LOOSE_PRIOR * (logarithms - start).square().sum()
        loss.backward()
        return loss

    search.step(closure)
    return logarithms.detach()
