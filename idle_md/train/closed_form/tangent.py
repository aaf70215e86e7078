"""A trained potential linearised in its parameters: features in which new fidelities are linear.

The gradient of an energy in the parameters is a feature vector of the geometry, and inner products
of such vectors are the neural tangent kernel (Jacot et al., arXiv 1806.07572; Holzmueller et al.,
arXiv 2203.09410, use it for atomistic networks among others). What is linear in the features has
forces that are linear in the derivatives of the features by the positions.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from idle_md.data import Batch
from idle_md.edge_contract import edge_forces, sum_by_system
from idle_md.nn import Potential
from idle_md.nn.parameter_groups import (
    SCALE_SHIFT,
    expected_changes,
    free_parameters,
    parameter_groups,
)
from idle_md.train.prediction import edge_stresses

WHOLE = "network"  # name of what is scaled as a whole
AT_ONCE = 64  # displacements that are differentiated together


class Tangent:
    """Gradient features of a potential with one fidelity, and what is linear in them.

    Parameters
    ----------
    potential
        Trained, of a single fidelity; is copied to float64 and not changed.
    changes
        How far its weights are expected to move relative to each other, by name; empty if that is
        not known. By default what its backbone says
        (:meth:`~idle_md.nn.backbone.Backbone.expected_changes`).

    Attributes
    ----------
    columns
        Which of the P columns of the features have a scale in common: those of a parameter group,
        or where it is known how far weights move relative to each other, all of them.
    scales
        How far they move, (P,), float64, up to those scales.
    n_columns
        P.
    """

    def __init__(
        self, potential: Potential, changes: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        self.changes = potential.backbone.expected_changes() if changes is None else changes
        self.potential = copy.deepcopy(potential).to_precision(torch.float64)
        self.potential.requires_grad_(True)
        self.columns: dict[str, slice] = {}
        start = 0
        for name, members in parameter_groups(self.potential).items():
            if name == SCALE_SHIFT:  # constants are in the mean
                continue
            size = sum(parameter.numel() for parameter in members)
            self.columns[name] = slice(start, start + size)
            start += size
        self.n_columns = start
        self.scales = torch.ones(start, dtype=torch.float64, device=potential.device)
        if self.changes:
            self.columns = {WHOLE: slice(0, start)}
            self.scales = expected_changes(self.potential, self.changes)

    def features(self, batch: Batch, displacements: Tensor | None = None) -> Tensor:
        """Return features of one geometry's energy, then of its derivatives, (1 + K, P), float64.

        Parameters
        ----------
        batch
            One geometry of n atoms, in float64.
        displacements
            Directions (K, n, 3) along which the energy is differentiated; None for none.
        """
        parameters = free_parameters(self.potential)
        vectors = batch.edge_vectors.detach().requires_grad_(True)
        energy = atomic_energies(self.potential, batch, vectors).sum()
        none = batch.positions.new_zeros(0, *batch.positions.shape)
        moves = none if displacements is None else displacements
        found = torch.autograd.grad(
            energy, parameters, retain_graph=len(moves) > 0, materialize_grads=True
        )
        rows = [torch.cat([each.ravel() for each in found])[None]]
        if len(moves):
            (slope,) = torch.autograd.grad(energy, vectors, create_graph=True)
        centre, neighbor = batch.edge_index
        for some in moves.split(AT_ONCE) if len(moves) else ():
            found = torch.autograd.grad(
                slope,
                parameters,
                some[:, neighbor] - some[:, centre],
                retain_graph=True,
                is_grads_batched=True,
                materialize_grads=True,
            )
            whole = [  # what an energy does not depend on has no first dimension
                each.expand(len(some), *parameter.shape).flatten(1)
                for each, parameter in zip(found, parameters, strict=True)
            ]
            rows.append(torch.cat(whole, dim=1))
        return torch.cat(rows)


class Slope(nn.Module):
    """How the energy of a potential changes with its parameters along a direction.

    Parameters
    ----------
    potential
        Of a single fidelity; is copied.
    direction
        In the parameters (P,), in the order of the columns of :class:`Tangent`.
    """

    def __init__(self, potential: Potential, direction: Tensor) -> None:
        super().__init__()
        self.potential = copy.deepcopy(potential).requires_grad_(False)
        moved = free_parameters(self.potential)
        direction = direction.to(potential.device, potential.dtype)
        parts = direction.split([parameter.numel() for parameter in moved])
        tangents = {id(p): part.view_as(p) for p, part in zip(moved, parts, strict=True)}
        named = dict(self.named_parameters())
        self._tangents = {
            name: tangents.get(id(parameter), torch.zeros_like(parameter))
            for name, parameter in named.items()
        }

    def forward(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the potential's own atomic energies (N,) in eV above the reference energies."""
        return atomic_energies(self.potential, batch, vectors)

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return changes of energies, forces and stresses, see :data:`Predictor`.

        Parameters
        ----------
        batch
            In the potential's precision.
        """
        vectors = batch.edge_vectors.detach().requires_grad_(True)

        def energies(parameters: dict[str, Tensor]) -> Tensor:
            found: Tensor = functional_call(self, parameters, (batch, vectors))
            return found

        _, atomic = jvp(energies, (dict(self.named_parameters()),), (self._tangents,))
        (gradient,) = torch.autograd.grad(atomic.sum(), vectors)
        total = sum_by_system(atomic.detach(), batch.graph_index, batch.n_graphs)
        forces = edge_forces(gradient, batch.edge_index, len(batch.species))
        return total, forces, edge_stresses(gradient, batch)


def atomic_energies(potential: Potential, batch: Batch, vectors: Tensor) -> Tensor:
    """Return atomic energies (N,) in eV above the reference energies, of the only fidelity."""
    return potential.residual(batch.species, batch.edge_index, vectors)[:, 0]
