"""What a new fidelity has over one that a model knows, by a Gaussian process on few labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from idle_md.data import Batch, GeometryTensors
from idle_md.nn import Potential
from idle_md.train.batches import Indices
from idle_md.train.closed_form.gaussian_process import GaussianProcess, regress
from idle_md.train.closed_form.tangent import STEP, Tangent

Features = dict[str, Tensor]


@dataclass(frozen=True)
class Correction:
    """A difference of two levels of theory, linear in the gradient features of a frozen model.

    The kernel is the neural tangent kernel, one term per parameter group of the model, whose
    variances are hyperparameters: the closed form of discriminative fine-tuning. Element counts are
    the unpenalised mean.

    Attributes
    ----------
    process
        The regression on the labelled differences.
    constants
        Mean per atomic number in eV, float64.
    """

    process: GaussianProcess
    constants: Tensor
    _scales: dict[str, float]
    _features: Features
    _tangent: Tangent
    _moved: Tangent

    def atomic(self, batch: Batch, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return atomic energies (N,) in eV of the known level, and what the new one adds.

        Without reference energies and constants; in float64, like the edge vectors (E, 3).
        """
        energies = self._tangent.atomic(batch, vectors)
        return energies, (self._moved.atomic(batch, vectors) - energies) / STEP

    def variance(self, tensors: GeometryTensors, indices: Indices) -> Tensor:
        """Return the predictive variance (B,) of the difference in eV^2, noise included."""
        features = self._tangent.features(tensors, indices)
        terms = list(zip(self._features, self.process.variances.tolist(), strict=True))
        cross, prior = torch.zeros(len(indices), len(self.process.alpha)).double(), 0.0
        for name, variance in terms:
            scale = variance / self._scales[name]
            cross = cross + scale * features[name] @ self._features[name].T
            prior = prior + scale * features[name].square().sum(1)
        mean = element_counts(tensors.batch(indices), self._tangent.potential.backbone.elements)
        return self.process.variance(cross, torch.as_tensor(prior), mean) + self.process.noise


def fit_correction(
    potential: Potential,
    fidelity: str,
    tensors: GeometryTensors,
    indices: Indices,
    differences: npt.NDArray[np.float64],
) -> Correction:
    """Fit the difference of a new level and one of a model's fidelities.

    Parameters
    ----------
    potential, fidelity
        The model and the known level.
    tensors, indices
        Labelled geometries (n,), in float64.
    differences
        Energies at the new level less those at the known one (n,) in eV.

    Raises
    ------
    ValueError
        If there are too few labels for the elements.
    """
    tangent = Tangent(potential, fidelity)
    features = tangent.features(tensors, indices)
    kernels = {name: each @ each.T for name, each in features.items()}
    scales = {name: float(kernel.diagonal().mean()) for name, kernel in kernels.items()}
    elements = potential.backbone.elements
    mean = element_counts(tensors.batch(indices), elements)
    normalised = [kernel / scales[name] for name, kernel in kernels.items()]
    process = regress(normalised, mean, torch.from_numpy(differences))
    steps = {
        name: variance / scales[name] * (process.alpha @ features[name])
        for name, variance in zip(features, process.variances.tolist(), strict=True)
    }
    constants = torch.zeros(max(elements) + 1, dtype=torch.float64)
    constants[elements] = process.coefficients
    return Correction(process, constants, scales, features, tangent, tangent.moved(steps))


def element_counts(batch: Batch, elements: Sequence[int]) -> Tensor:
    """Return the number of atoms of each element (B, n_elements), float64."""
    counts = torch.zeros(batch.n_graphs, len(elements), dtype=torch.float64)
    one_hot = (batch.species[:, None] == torch.tensor(elements)).double()
    return counts.index_add(0, batch.graph_index, one_hot)
