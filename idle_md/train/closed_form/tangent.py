"""A trained potential linearised in its parameters: features in which new fidelities are linear.

The gradient of an energy in the parameters is a feature vector of the geometry, and inner products
of such vectors are the neural tangent kernel (Jacot et al., arXiv 1806.07572; Holzmueller et al.,
arXiv 2203.09410, use it for atomistic networks among others).
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from idle_md.data import Batch, GeometryTensors
from idle_md.nn import Potential
from idle_md.nn.parameter_groups import SCALE_SHIFT, parameter_groups
from idle_md.train.batches import Indices

STEP = 1e-4  # of the difference quotient along a direction, in float64

Direction = Mapping[str, Tensor]
"""One vector (P_g,) per parameter group."""


class Tangent:
    """Gradient features of one fidelity of a potential, and what is linear in them.

    Parameters
    ----------
    potential
        Trained; is copied to float64 and not changed.
    fidelity
        Whose energy is linearised.
    """

    def __init__(self, potential: Potential, fidelity: str) -> None:
        self.potential = copy.deepcopy(potential).to_precision(torch.float64)
        self.column = potential.column(fidelity)
        self.potential.requires_grad_(True)
        groups = parameter_groups(self.potential)
        self.groups: dict[str, list[nn.Parameter]] = {
            name: parameters
            for name, parameters in groups.items()
            if name != SCALE_SHIFT  # constants are in the mean
        }

    def features(self, tensors: GeometryTensors, indices: Indices) -> dict[str, Tensor]:
        """Return d energy / d parameters (B, P_g) of geometries by parameter group.

        Groups that the energy does not depend on are left out.
        """
        rows: dict[str, list[Tensor]] = {name: [] for name in self.groups}
        parameters = [p for members in self.groups.values() for p in members]
        for index in indices:
            atomic = self.atomic(tensors.batch([int(index)]))
            found = torch.autograd.grad(atomic.sum(), parameters, materialize_grads=True)
            gradients = iter(found)
            for name, members in self.groups.items():
                rows[name].append(torch.cat([next(gradients).ravel() for _ in members]))
        stacked = {name: torch.stack(each) for name, each in rows.items()}
        return {name: each for name, each in stacked.items() if bool((each != 0).any())}

    def atomic(self, batch: Batch, vectors: Tensor | None = None) -> Tensor:
        """Return the fidelity's atomic energies (N,) in eV above the reference energies."""
        vectors = batch.edge_vectors if vectors is None else vectors
        residual = self.potential.residual(batch.species, batch.edge_index, vectors)
        return residual[:, self.column]

    def moved(self, direction: Direction) -> "Tangent":
        """Return the tangent at parameters that a small step along a direction leads to."""
        there = copy.copy(self)
        there.potential = copy.deepcopy(self.potential)
        groups = parameter_groups(there.potential)
        there.groups = {name: groups[name] for name in self.groups}
        for name, step in direction.items():
            sizes = [p.numel() for p in there.groups[name]]
            for parameter, part in zip(there.groups[name], step.split(sizes), strict=True):
                parameter.data += STEP * part.view_as(parameter)
        return there
