"""What a new level has over one that a model knows, by a Gaussian process on few labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from idle_md.data import Batch, GeometryTensors
from idle_md.edge_contract import sum_by_system
from idle_md.nn import Potential
from idle_md.train.closed_form.differences import (
    ENERGY,
    SLOPE,
    Differences,
    Observed,
    observe,
    sampled,
)
from idle_md.train.closed_form.gaussian_process import (
    Regression,
    gram,
    most_probable,
    regress,
)
from idle_md.train.closed_form.projection import Projection
from idle_md.train.closed_form.tangent import Slope, Tangent

EVIDENCE_ROWS = 900  # that the hyperparameters are found with
EXACT_ROWS = 5000  # with features as long as they are
MOST_ROWS = 40_000  # with projected ones
KEPT = 8192  # columns of projected features
FEATURE_BYTES = 2 << 30  # most memory of features that are not projected


@dataclass(frozen=True)
class Prior:
    """What is expected of a correction before there are labels, and of the labels' noise.

    Attributes
    ----------
    factors
        On the scaled features by name of a tangent's columns, so that every weight has the
        variance 1.
    noise
        Variances of energies in eV^2 and of slopes in (eV/angstrom)^2.
    changes
        How far weights were expected to move relative to each other, see :class:`Tangent`.
    """

    factors: dict[str, float]
    noise: tuple[float, float]
    changes: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Features:
    """Features of a tangent, scaled by a prior.

    Parameters
    ----------
    tangent
        Of the model.
    factors
        On its scaled features by name of columns.
    projection
        Of the scaled features, if they are too long.

    Raises
    ------
    ValueError
        If the factors are not those of the tangent's columns.
    """

    def __init__(
        self, tangent: Tangent, factors: Mapping[str, float], projection: Projection | None = None
    ) -> None:
        self.tangent = tangent
        self.projection = projection
        if set(factors) != set(tangent.columns):
            raise ValueError(
                "the closed form was fitted by a version that did not keep which changes of the "
                "network it expected: adapt the model again"
            )
        self.scales = tangent.scales.clone()
        for name, columns in tangent.columns.items():
            self.scales[columns] *= factors[name]

    def __call__(self, batch: Batch, displacements: Tensor) -> Tensor:
        """Return features of one geometry's energy and of derivatives (1 + K, D), float32."""
        rows = (self.tangent.features(batch, displacements) * self.scales).float()
        return rows if self.projection is None else self.projection(rows)

    def direction(self, weights: Tensor) -> Tensor:
        """Return the direction (P,) in the parameters that weights (D,) are."""
        full = weights if self.projection is None else self.projection.transposed(weights)
        return full * self.scales


class Correction:
    """A difference of two levels of theory, linear in the gradient features of a frozen model.

    Parameters
    ----------
    base
        The model, of the known level alone.
    direction
        In its parameters (P,), along which its energy changes by the difference.
    constants
        By atomic number, in eV, float64.
    """

    def __init__(self, base: Potential, direction: Tensor, constants: Tensor) -> None:
        self.direction = direction
        self.constants = constants
        self.dtype = base.dtype
        self._slope = Slope(base, direction)

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return energies, forces and stresses to add, see :data:`Predictor`.

        The batch is in the model's precision, :attr:`dtype`.
        """
        batch = batch.to(self.constants.device)
        energies, forces, stresses = self._slope.predict(batch)
        constants = sum_by_system(self.constants[batch.species], batch.graph_index, batch.n_graphs)
        return energies + constants, forces, stresses


@dataclass(frozen=True)
class Posterior:
    """What labels say of a correction: the most probable one, and how sure it is.

    The kernel is the neural tangent kernel, scaled as parts of the network are known to change, or
    one term per parameter group where that is not known: the closed form of discriminative
    fine-tuning. The variances are hyperparameters. Element counts are the unpenalised mean.

    Attributes
    ----------
    prior
        What was expected; its hyperparameters have the highest evidence.
    observed
        What it was fitted to, by geometry.
    """

    prior: Prior
    observed: Sequence[Observed]
    _base: Potential
    _features: Features
    _regression: Regression

    def correction(self, drawn: int | None = None) -> Correction:
        """Return the most probable correction, or one drawn from the posterior with a seed."""
        weights, coefficients = self._regression.weights, self._regression.coefficients
        if drawn is not None:
            weights, coefficients = self._regression.sample(
                torch.Generator("cpu").manual_seed(drawn)
            )
        elements = self._base.backbone.elements
        constants = coefficients.new_zeros(max(elements) + 1)
        constants[elements] = coefficients
        return Correction(self._base, self._features.direction(weights), constants)

    def variances(self, batch: Batch, displacements: Tensor) -> Tensor:
        """Return the variances (1 + K,) of one geometry's energy and of derivatives, without noise.

        Parameters
        ----------
        batch
            One geometry of n atoms, in float64.
        displacements
            Unit vectors (K, n, 3) along which the energy is differentiated.
        """
        where, elements = self._base.device, self._base.backbone.elements
        batch = batch.to(where)
        features = self._features(batch, displacements.to(where))
        mean = torch.zeros(len(features), len(elements), dtype=torch.float64, device=where)
        mean[0] = element_counts(batch, elements)[0]
        return torch.relu(self._regression.covariance(features, mean).diagonal())

    def left_out(self) -> tuple[Tensor, Tensor]:
        """Return errors (n, 2) at every geometry when its own labels are left out.

        Of energies in eV and of slopes in eV/angstrom; the second column is the standard deviation
        that is predicted for them, noise included.
        """
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        start = 0
        for one in self.observed:
            errors, covariance = self._regression.left_out(slice(start, start + len(one)))
            start += len(one)
            pairs = torch.stack([errors, covariance.diagonal().sqrt()], dim=1)
            for kind, rows in enumerate(found):
                rows.append(pairs[one.kinds == kind])
        return torch.cat(found[ENERGY]), torch.cat(found[SLOPE])


def fit_correction(
    base: Potential, differences: Differences, seed: int = 0, prior: Prior | None = None
) -> Posterior:
    """Fit the difference of a new level and the one that a model knows.

    Parameters
    ----------
    base
        The model, of that level alone.
    differences
        To it, at labelled geometries.
    seed
        Of the directions along which forces are used, where not all are, and of projections.
    prior
        If it is known already.

    Raises
    ------
    ValueError
        If there are too few labels for the elements.
    """
    tangent, elements = Tangent(base, prior.changes if prior else None), base.backbone.elements
    tensors = GeometryTensors(differences.store, base.backbone.cutoff, [], torch.float64)
    tensors = tensors.to(base.device)
    observed = [one.to(base.device) for one in observe(differences, MOST_ROWS, seed)]
    prior = prior or _most_probable(tangent, tensors, sampled(observed, EVIDENCE_ROWS, seed))
    n_rows = sum(len(one) for one in observed)
    is_exact = n_rows <= min(EXACT_ROWS, FEATURE_BYTES // (4 * tangent.n_columns))
    projection = None if is_exact else Projection(tangent.n_columns, KEPT, seed, base.device)
    features = Features(tangent, prior.factors, projection)
    matrix = torch.cat([_rows(features, tensors, one) for one in observed])
    targets, kinds, known_noise = _targets(observed)
    noise = known_noise.new_tensor(prior.noise)[kinds] + known_noise
    regression = regress(matrix, _means(tensors, observed, elements), noise, targets)
    return Posterior(prior, observed, base, features, regression)


def element_counts(batch: Batch, elements: Sequence[int]) -> Tensor:
    """Return the number of atoms of each element (B, n_elements), float64."""
    known = batch.species.new_tensor(elements)
    one_hot = (batch.species[:, None] == known).double()
    counts = one_hot.new_zeros(batch.n_graphs, len(elements))
    return counts.index_add(0, batch.graph_index, one_hot)


def _most_probable(
    tangent: Tangent, tensors: GeometryTensors, observed: Sequence[Observed]
) -> Prior:
    """Return the prior of the highest evidence."""
    plain = Features(tangent, dict.fromkeys(tangent.columns, 1.0))
    matrix = torch.cat([_rows(plain, tensors, one) for one in observed]).double()
    kernels = torch.stack([gram(matrix[:, columns]) for columns in tangent.columns.values()])
    sizes = kernels.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-300)
    targets, kinds, noise = _targets(observed)
    mean = _means(tensors, observed, tangent.potential.backbone.elements)
    normalised = kernels / sizes[:, None, None]
    variances, found = most_probable(normalised, mean, targets, kinds == SLOPE, noise)
    factors = (variances / sizes).sqrt().tolist()
    return Prior(dict(zip(tangent.columns, factors, strict=True)), found, tangent.changes)


def _rows(features: Features, tensors: GeometryTensors, one: Observed) -> Tensor:
    found = features(tensors.batch([one.geometry]), one.displacements)
    return found if one.has_energy else found[1:]


def _targets(observed: Sequence[Observed]) -> tuple[Tensor, Tensor, Tensor]:
    """Return values, kinds and known variances (n,) of all observations."""
    kinds = torch.cat([one.kinds for one in observed])
    noise = torch.cat([one.slopes.new_tensor(one.variances)[one.kinds] for one in observed])
    return torch.cat([one.values for one in observed]), kinds, noise


def _means(
    tensors: GeometryTensors, observed: Sequence[Observed], elements: Sequence[int]
) -> Tensor:
    """Return the columns of the mean (n, n_elements): element counts of energies alone."""
    rows = []
    for one in observed:
        rows.append(one.slopes.new_zeros(len(one), len(elements)))
        if one.has_energy:
            rows[-1][0] = element_counts(tensors.batch([one.geometry]), elements)[0]
    return torch.cat(rows)
