"""A trained potential linearised in its parameters: features in which new fidelities are linear.

The gradient of an energy in the parameters is a feature vector of the geometry, and inner products
of such vectors are the neural tangent kernel (Jacot et al., arXiv 1806.07572; Holzmueller et al.,
arXiv 2203.09410, use it for atomistic networks among others). What is linear in the features has
forces that are linear in the derivatives of the features by the positions.
"""

import copy

import torch
from torch import Tensor, nn

from idle_md.data import Batch
from idle_md.edge_contract import edge_forces, sum_by_system
from idle_md.nn import Potential
from idle_md.nn.parameter_groups import SCALE_SHIFT, parameter_groups

STEP = 1e-4  # of the difference quotient along a direction, in float64
AT_ONCE = 64  # displacements that are differentiated together


class Tangent:
    """Gradient features of a potential with one fidelity, and what is linear in them.

    Parameters
    ----------
    potential
        Trained, of a single fidelity; is copied to float64 and not changed.

    Attributes
    ----------
    columns
        Which of the P columns of the features belong to which parameter group.
    n_columns
        P.
    """

    def __init__(self, potential: Potential) -> None:
        self.potential = copy.deepcopy(potential).to_precision(torch.float64)
        self.potential.requires_grad_(True)
        self.columns: dict[str, slice] = {}
        start = 0
        for name, members in _groups(self.potential).items():
            size = sum(parameter.numel() for parameter in members)
            self.columns[name] = slice(start, start + size)
            start += size
        self.n_columns = start

    def features(self, batch: Batch, displacements: Tensor | None = None) -> Tensor:
        """Return features of one geometry's energy, then of its derivatives, (1 + K, P), float64.

        Parameters
        ----------
        batch
            One geometry of n atoms, in float64.
        displacements
            Directions (K, n, 3) along which the energy is differentiated; None for none.
        """
        parameters = _parameters(self.potential)
        vectors = batch.edge_vectors.detach().requires_grad_(True)
        energy = atomic_energies(self.potential, batch, vectors).sum()
        moves = torch.zeros(0, *batch.positions.shape) if displacements is None else displacements
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

    def along(self, direction: Tensor) -> "Slope":
        """Return how the energy changes with the parameters along a direction (P,)."""
        moved = copy.deepcopy(self.potential)
        parameters = _parameters(moved)
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, part in zip(parameters, direction.split(sizes), strict=True):
            parameter.data += STEP * part.view_as(parameter)
        return Slope(copy.deepcopy(self.potential), moved)


class Slope:
    """The derivative of a potential's energy along a direction in its parameters.

    Parameters
    ----------
    start, end
        Potentials a small step apart.
    """

    def __init__(self, start: Potential, end: Potential) -> None:
        self.start = start.requires_grad_(False)
        self.end = end.requires_grad_(False)

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return energies (B,) in eV and forces (N, 3) in eV/angstrom, without constants."""
        vectors = batch.edge_vectors.detach().requires_grad_(True)
        before = atomic_energies(self.start, batch, vectors)
        atomic = (atomic_energies(self.end, batch, vectors) - before) / STEP
        (gradient,) = torch.autograd.grad(atomic.sum(), vectors)
        energies = sum_by_system(atomic.detach(), batch.graph_index, batch.n_graphs)
        return energies, edge_forces(gradient, batch.edge_index, len(batch.species))


def atomic_energies(potential: Potential, batch: Batch, vectors: Tensor) -> Tensor:
    """Return atomic energies (N,) in eV above the reference energies, of the only fidelity."""
    return potential.residual(batch.species, batch.edge_index, vectors)[:, 0]


def _groups(potential: Potential) -> dict[str, list[nn.Parameter]]:
    groups = parameter_groups(potential)
    del groups[SCALE_SHIFT]  # constants are in the mean
    return groups


def _parameters(potential: Potential) -> list[nn.Parameter]:
    return [parameter for members in _groups(potential).values() for parameter in members]
