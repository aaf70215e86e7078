"""Gaussian-process regression of energies and of their derivatives, in closed form.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006): the mean is that of section
2.7 in the limit of a flat prior, hyperparameters have the highest evidence under it (equation
2.45), and what is left out is predicted as in section 5.4.2, many targets at a time.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

LOOSE_PRIOR = 0.01  # on the logarithms of the hyperparameters, so that none of them runs away
STEPS = 100
SMALLEST_VARIANCE = 1e-12  # of targets that the mean explains completely
SMALLEST_ENERGY_NOISE = 1 / 6400  # of the variance of targets
SMALLEST_SLOPE_NOISE = 1 / 400  # no linear model explains more of them
USUAL_NOISE = 1e-4  # eV^2, of energies that are too few to tell
BLOCK = 1024  # rows that are multiplied at a time


def most_probable(
    kernels: Tensor, mean: Tensor, targets: Tensor, is_slope: Tensor, known_noise: Tensor
) -> tuple[Tensor, tuple[float, float]]:
    """Return variances of kernels (K,), and of the noise of energies and slopes.

    They have the highest evidence. Slopes outnumber energies, though, and the evidence of both
    would take what tells molecules apart for noise. So the noise of energies is that of the highest
    evidence of energies alone, and the rest is found for both together.

    Parameters
    ----------
    kernels
        Covariances (K, n, n), float64.
    mean
        Columns of the mean (n, m), unpenalised.
    targets
        (n,).
    is_slope
        Which targets are derivatives of energies (n,).
    known_noise
        Variances (n,) to add to the noise.

    Raises
    ------
    ValueError
        If there are energies alone, and not at least two more than independent columns.
    """
    energies = ~is_slope
    if not bool(is_slope.any()):
        variances, noise = _search(
            kernels, mean, targets, known_noise, energies, SMALLEST_ENERGY_NOISE
        )
        return variances, (noise, 0.0)
    of_energies = USUAL_NOISE
    if int(energies.sum()) >= int(torch.linalg.matrix_rank(mean)) + 2:
        some = energies.nonzero()[:, 0]
        block = kernels[:, some][:, :, some]
        alone = torch.ones_like(some, dtype=torch.bool)
        shown = mean[some], targets[some], known_noise[some], alone
        _, of_energies = _search(block, *shown, SMALLEST_ENERGY_NOISE)
    fixed = known_noise + of_energies * energies
    variances, of_slopes = _search(kernels, mean, targets, fixed, is_slope, SMALLEST_SLOPE_NOISE)
    return variances, (of_energies, of_slopes)


def _search(
    kernels: Tensor, mean: Tensor, targets: Tensor, fixed: Tensor, noisy: Tensor, least: float
) -> tuple[Tensor, float]:
    """Return variances of kernels (K,), and of the noise of some targets, the rest being fixed.

    That noise is at least a share of the variance of these targets.
    """
    free = _complement(mean)
    values = free.T @ targets
    rest = free @ values
    prior = kernels.diagonal(dim1=1, dim2=2).sum(0)
    variance = float((rest.square().sum() + SMALLEST_VARIANCE) / prior.sum().clamp(min=1e-300))
    typical = float(rest[noisy].square().mean()) + SMALLEST_VARIANCE
    start = targets.new_tensor([math.log(variance)] * len(kernels) + [math.log(typical) - 4.0])
    smallest = least * typical
    constant = free.T @ ((fixed + smallest * noisy)[:, None] * free)
    noise = free.T @ (noisy.to(targets.dtype)[:, None] * free)
    terms = torch.cat([free.T @ kernels @ free, noise[None]])
    logarithms = start.clone().requires_grad_(True)
    search = torch.optim.LBFGS([logarithms], 0.5, STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        covariance = torch.einsum("k,kab->ab", logarithms.exp(), terms) + constant
        factor = torch.linalg.cholesky(covariance)
        whitened = torch.linalg.solve_triangular(factor, values[:, None], upper=False)
        loss: Tensor = 0.5 * whitened.square().sum() + factor.diagonal().log().sum()
        loss = loss + LOOSE_PRIOR * (logarithms - start).square().sum()
        loss.backward()
        return loss

    search.step(closure)
    found = logarithms.detach().exp()
    return found[:-1], float(found[-1]) + smallest


def _complement(mean: Tensor) -> Tensor:
    """Return an orthonormal basis (n, n - rank) of what the mean (n, m) cannot explain."""
    basis, sizes, _ = torch.linalg.svd(mean)
    rank = int((sizes > 1e-9 * sizes[0]).sum())
    if len(mean) < rank + 2:
        raise ValueError(
            f"{len(mean)} labels are too few for {rank} elements that their compositions tell "
            f"apart: give {rank + 2} or more"
        )
    free: Tensor = basis[:, rank:]
    return free


class Regression(ABC):
    """A linear model of targets, with a unit Gaussian prior on its weights and a free mean.

    Attributes
    ----------
    weights
        Most probable ones (D,), float64.
    coefficients
        Of the columns of the mean (m,); those of least norm where the columns are dependent.
    """

    weights: Tensor
    coefficients: Tensor

    def __init__(self, features: Tensor, mean: Tensor, noise: Tensor, targets: Tensor) -> None:
        left, sizes, right = torch.linalg.svd(mean, full_matrices=False)
        rank = int((sizes > 1e-9 * sizes[0]).sum())
        self._basis = left[:, :rank]  # (n, r), orthonormal columns in place of the mean's
        self._to_basis = right[:rank].T / sizes[:rank]  # (m, r)
        self._features, self._noise = features, noise
        # Energies are thousands of eV, and what is to be learned of them a fraction of one.
        plain = self._basis.T @ targets
        self._centred = targets - self._basis @ plain
        self._prepare()
        self.weights, found = self._solve(self._centred)
        fitted = (features @ self.weights.to(features.dtype)).double()
        self._duals = (self._centred - fitted - self._basis @ found) / noise
        self._plain = self._to_basis @ plain
        self.coefficients = self._plain + self._to_basis @ found

    def sample(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return weights (D,) and coefficients (m,) drawn from the posterior.

        By Matheron's rule: a draw from the prior, moved to the targets as the mean would be.
        """
        n, columns = self._features.shape
        drawn, noise = (
            torch.randn(size, generator=generator, dtype=torch.float64, device=generator.device).to(
                self._noise
            )
            for size in (columns, n)
        )
        noise = noise * self._noise.sqrt()
        seen = (self._features @ drawn.to(self._features.dtype)).double() + noise
        weights, found = self._solve(self._centred - seen)
        return drawn + weights, self._plain + self._to_basis @ found

    @abstractmethod
    def _prepare(self) -> None:
        """Factorise what does not depend on the targets."""

    @abstractmethod
    def _solve(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (D,), and coefficients of the basis of the mean (r,)."""

    @abstractmethod
    def covariance(self, features: Tensor, mean: Tensor) -> Tensor:
        """Return the posterior covariance (B, B) of new targets, without their noise.

        Parameters
        ----------
        features, mean
            Of the new targets, (B, D) and (B, m).
        """

    @abstractmethod
    def _precision(self, rows: slice) -> Tensor:
        """Return P[rows, rows] of ``P``, which takes targets to their duals."""

    def left_out(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return some targets less their prediction from all others (b,), and its covariance.

        The covariance (b, b) has the noise in it. Where the others say nothing of a column of the
        mean, all is NaN.
        """
        covariance = torch.linalg.pinv(self._precision(rows), hermitian=True)
        own = self._basis[rows]
        others = torch.eye(own.shape[1], dtype=own.dtype, device=own.device) - own.T @ own
        if own.shape[1] and float(torch.linalg.eigvalsh(others)[0]) < 1e-9:
            covariance = torch.full_like(covariance, torch.nan)
        return covariance @ self._duals[rows], covariance


def regress(features: Tensor, mean: Tensor, noise: Tensor, targets: Tensor) -> Regression:
    """Return a regression with as many unknowns as it has targets or weights, the fewer of them.

    Parameters
    ----------
    features
        (n, D), scaled so that every weight has the prior variance 1.
    mean
        Columns of the mean (n, m), unpenalised, float64.
    noise
        Variances of the targets (n,), float64.
    targets
        (n,), float64.
    """
    kind = _Dual if len(features) <= features.shape[1] else _Primal
    return kind(features, mean, noise, targets)


class _Dual(Regression):
    """With one unknown per target."""

    def _prepare(self) -> None:
        covariance = gram(self._features)
        covariance.diagonal().add_(self._noise)
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
        self._spread = self._inverse @ self._basis  # (n, r)
        self._normal = torch.linalg.inv(self._basis.T @ self._spread)

    def _solve(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        coefficients = self._normal @ (self._spread.T @ targets)
        duals = self._inverse @ (targets - self._basis @ coefficients)
        return (duals.to(self._features.dtype) @ self._features).double(), coefficients

    def covariance(self, features: Tensor, mean: Tensor) -> Tensor:
        cross = (features @ self._features.T).double()
        rest = mean @ self._to_basis - cross @ self._spread
        explained = cross @ self._inverse @ cross.T
        found: Tensor = gram(features) - explained + rest @ self._normal @ rest.T
        return found

    def _precision(self, rows: slice) -> Tensor:
        spread = self._spread[rows]
        block: Tensor = self._inverse[rows, rows] - spread @ self._normal @ spread.T
        return block


class _Primal(Regression):
    """With one unknown per weight."""

    def _prepare(self) -> None:
        features, noise = self._features, self._noise
        normal = torch.eye(features.shape[1], dtype=torch.float64, device=features.device)
        for rows, some in zip(features.split(BLOCK), noise.split(BLOCK), strict=True):
            scaled = rows / some.sqrt().to(rows.dtype)[:, None]
            normal += (scaled.T @ scaled).double()
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(normal))
        joint = self._transposed(self._basis)  # (D, r)
        self._spread = self._inverse @ joint
        weighted = self._basis / noise[:, None]
        self._normal = torch.linalg.inv(self._basis.T @ weighted - joint.T @ self._spread)

    def _solve(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        right = self._inverse @ self._transposed(targets[:, None])[:, 0]
        seen = self._basis.T @ (targets / self._noise) - self._transposed(self._basis).T @ right
        coefficients = self._normal @ seen
        return right - self._spread @ coefficients, coefficients

    def _transposed(self, columns: Tensor) -> Tensor:
        weighted = (columns / self._noise[:, None]).to(self._features.dtype)
        return (self._features.T @ weighted).double()

    def covariance(self, features: Tensor, mean: Tensor) -> Tensor:
        return self._covariance(features, mean @ self._to_basis)

    def _covariance(self, features: Tensor, mean: Tensor) -> Tensor:
        wide = features.double()
        rest = mean - wide @ self._spread
        found: Tensor = wide @ self._inverse @ wide.T + rest @ self._normal @ rest.T
        return found

    def _precision(self, rows: slice) -> Tensor:
        noise = self._noise[rows]
        known = self._covariance(self._features[rows], self._basis[rows])
        return torch.diag(1.0 / noise) - known / noise[:, None] / noise


def gram(features: Tensor) -> Tensor:
    """Return the inner products (n, n) of rows (n, D), in float64."""
    n = len(features)
    products = torch.empty(n, n, dtype=torch.float64, device=features.device)
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        found = features[rows] @ features[: rows.stop].T
        products[rows, : rows.stop] = found.double()
        products[: rows.stop, rows] = found.T.double()
    return products
