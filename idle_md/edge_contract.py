"""The edge contract: what goes into a model as edges, and what becomes of its edge gradients.

Edge ``e`` has a centre ``i = edge_index[0, e]`` and a neighbour ``j = edge_index[1, e]``, and
``edge_vectors[e] = r_j - r_i + shift`` in angstrom. Any directed set of edges that is sorted by
centre is legal: reverse edges may be missing, a pair may come several times with different periodic
images, an atom may be its own neighbour. Edges that are not shorter than the cutoff contribute
nothing, neither energy nor gradient.

A model gives atomic energies (N,) in eV and ``g = dE/d(edge_vectors)`` (E, 3) in eV/angstrom. The
forces are ``f_i += g_e``, ``f_j -= g_e``, the virial is ``-sum r_e (x) g_e``. All sums are in
float64, whatever the precision of the model.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def join(edge_indices: Sequence[Tensor], n_atoms: Sequence[int]) -> Tensor:
    """Return the edges (2, E) of several systems as those of one.

    Parameters
    ----------
    edge_indices
        Of each system (2, E_k), numbered from 0.
    n_atoms
        Number of atoms of each system, in the same order.
    """
    first, shifted = 0, []
    for edge_index, n in zip(edge_indices, n_atoms, strict=True):
        shifted.append(edge_index + first)
        first += n
    return torch.cat(shifted, dim=1)


def sum_by_system(values: Tensor, system: Tensor, n_systems: int) -> Tensor:
    """Return the sums (S, ...) in float64 of values (N, ...) of atoms by their system (N,)."""
    wide = values.double()
    total = torch.zeros((n_systems, *values.shape[1:]), dtype=wide.dtype, device=wide.device)
    return total.index_add(0, system, wide)


def edge_forces(gradients: Tensor, edge_index: Tensor, n_atoms: int) -> Tensor:
    """Return forces (N, 3) in float64 of edge gradients (E, 3), in eV/angstrom."""
    gradients = gradients.double()
    forces = torch.zeros((n_atoms, 3), dtype=gradients.dtype, device=gradients.device)
    forces.index_add_(0, edge_index[0], gradients)
    return forces.index_add_(0, edge_index[1], gradients, alpha=-1.0)


def edge_virial(gradients: Tensor, vectors: Tensor) -> Tensor:
    """Return the virial ``-sum r (x) dE/dr`` (3, 3) in eV, symmetric and in float64.

    Parameters
    ----------
    gradients, vectors
        Of edges (E, 3), in eV/angstrom and angstrom.
    """
    virial = -(vectors.double().T @ gradients.double())
    return 0.5 * (virial + virial.T)


def edge_virials(gradients: Tensor, vectors: Tensor, system: Tensor, n_systems: int) -> Tensor:
    """Return the virials (S, 3, 3) in eV of several systems, symmetric and in float64.

    Parameters
    ----------
    gradients, vectors
        Of edges (E, 3), in eV/angstrom and angstrom.
    system
        Which system each edge is of (E,).
    n_systems
        Number of systems S.
    """
    outer = vectors.double()[:, :, None] * gradients.double()[:, None, :]
    virials = -sum_by_system(outer, system, n_systems)
    return 0.5 * (virials + virials.transpose(1, 2))
