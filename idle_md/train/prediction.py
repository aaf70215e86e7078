"""Energies and their gradients, to be differentiated once more by a loss on forces."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from idle_md.nn import Potential

Gradients = tuple[Tensor, list[Tensor]]


def gradients(
    potential: Potential,
    species: Tensor,
    edge_index: Tensor,
    edge_vectors: Tensor,
    columns: Sequence[int],
    create_graph: bool = False,
) -> Gradients:
    """Return atomic energies (N, n_fidelities) in eV, and gradients (E, 3) of some columns' sums.

    Parameters
    ----------
    potential
        The model.
    species, edge_index, edge_vectors
        (N,), (2, E) and (E, 3) in angstrom, see the edge contract.
    columns
        Output columns whose gradients are wanted, in eV/angstrom.
    create_graph
        Whether the gradients will be differentiated again.
    """
    vectors = edge_vectors.detach().requires_grad_(bool(columns))
    atomic = potential.residual(species, edge_index, vectors)
    found = []
    for number, column in enumerate(columns):
        (gradient,) = torch.autograd.grad(
            atomic[:, column].sum(),
            vectors,
            create_graph=create_graph,
            retain_graph=create_graph or number < len(columns) - 1,
        )
        found.append(gradient)
    return atomic, found


@cache
def compiled_gradients() -> Callable[..., Gradients]:
    """Return a compiled function like :func:`gradients`, always to be differentiated again.

    The first call of a process compiles, for any numbers of atoms and edges.

    Raises
    ------
    ValueError
        If there is no C++ compiler.
    """
    if not has_compiler():
        raise ValueError(
            "compile: true needs a C++ compiler, and none is on the PATH: install g++, or set "
            "compile: false"
        )
    # It warns about a missing CUDA toolkit on machines that have no GPU either.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    compiled: Callable[..., Gradients] = torch.compile(_gradients, dynamic=True, fullgraph=True)
    return compiled


def has_compiler() -> bool:
    """Whether there is a C++ compiler that `compile: true` can use."""
    names = os.environ.get("CXX"), "g++", "clang++"
    return any(name is not None and shutil.which(name) for name in names)


def _gradients(
    potential: Potential,
    species: Tensor,
    edge_index: Tensor,
    edge_vectors: Tensor,
    columns: Sequence[int],
) -> Gradients:
    # The compiler differentiates what it compiled once and no more. A pull-back inside of it is
    # part of what it compiled.
    def energies(vectors: Tensor) -> Tensor:
        return potential.residual(species, edge_index, vectors)

    atomic, pull_back = torch.func.vjp(energies, edge_vectors)
    found = []
    for column in columns:
        chosen = torch.zeros_like(atomic)
        chosen[:, column] = 1.0
        found.append(pull_back(chosen)[0])
    return atomic, found
