"""The edge contract: from edge gradients to forces and virial."""

import torch
from torch import Tensor


def edge_forces(gradients: Tensor, edge_index: Tensor, n_atoms: int) -> Tensor:
    """Return forces (N, 3) in float64 of edge gradients (E, 3)."""
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
