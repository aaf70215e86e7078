"""Energies and forces of models, for a loss that is differentiated once more, or for errors."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from idle_md.data import Batch, GeometryTensors
from idle_md.deploy import DeployedModel
from idle_md.edge_contract import edge_forces, sum_by_system
from idle_md.nn import Potential
from idle_md.train.compiler_cache import remove_half_written

Gradients = tuple[Tensor, list[Tensor]]
Predictor = Callable[[Batch], tuple[Tensor, Tensor]]
"""Gives total energies (B,) in eV and forces (N, 3) in eV/angstrom, float64."""
CHUNK = 64  # geometries predicted at a time


@dataclass(frozen=True)
class Prediction:
    """Residual energies (B, n_fidelities) in eV above the reference energies, and forces.

    ``forces`` (N, 3) in eV/angstrom by output column, for the columns that were asked for. Both are
    in float64.
    """

    energies: Tensor
    forces: dict[int, Tensor]


def predict(
    potential: Potential,
    batch: Batch,
    force_columns: Sequence[int],
    create_graph: bool = False,
    compiled: bool = False,
) -> Prediction:
    """Return residual energies of every fidelity and forces of some.

    Parameters
    ----------
    potential
        The model.
    batch
        Geometries, on the model's device and in its precision.
    force_columns
        Output columns whose forces are wanted.
    create_graph
        Whether the forces will be differentiated again.
    compiled
        Whether to compile the model; the result can be differentiated either way.
    """
    columns = tuple(force_columns)
    graph = potential, batch.species, batch.edge_index, batch.edge_vectors, columns
    atomic, found = compiled_gradients()(*graph) if compiled else gradients(*graph, create_graph)
    forces = {
        column: edge_forces(gradient, batch.edge_index, len(batch.species))
        for column, gradient in zip(columns, found, strict=True)
    }
    return Prediction(sum_by_system(atomic, batch.graph_index, batch.n_graphs), forces)


def potential_predictor(potential: Potential, fidelity: str) -> Predictor:
    """Return what predicts one fidelity of a potential."""
    column = potential.column(fidelity)

    def energies_and_forces(batch: Batch) -> tuple[Tensor, Tensor]:
        batch = batch.to(potential.device)
        prediction = predict(potential, batch, [column])
        reference = potential.reference_energies[batch.species, column]
        total = sum_by_system(reference, batch.graph_index, batch.n_graphs)
        return prediction.energies[:, column].detach() + total, prediction.forces[column]

    return energies_and_forces


def committee_predictor(potentials: Sequence[Potential], fidelity: str) -> Predictor:
    """Return what predicts the mean of the potentials' energies and of their forces."""
    predictors = [potential_predictor(potential, fidelity) for potential in potentials]

    def energies_and_forces(batch: Batch) -> tuple[Tensor, Tensor]:
        energies, forces = zip(*(predictor(batch) for predictor in predictors), strict=True)
        return torch.stack(energies).mean(0), torch.stack(forces).mean(0)

    return energies_and_forces


def deployed_predictor(model: DeployedModel) -> Predictor:
    """Return what predicts with an exported model."""

    def energies_and_forces(batch: Batch) -> tuple[Tensor, Tensor]:
        batch = batch.to(model.device)
        n_atoms = len(batch.species)
        atomic, gradient = model.core(batch.species, batch.edge_index, batch.edge_vectors, n_atoms)
        energies = sum_by_system(atomic, batch.graph_index, batch.n_graphs)
        return energies, edge_forces(gradient, batch.edge_index, n_atoms)

    return energies_and_forces


def predict_all(
    predictor: Predictor, tensors: GeometryTensors, indices: Tensor | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return energies (G,) and forces (A, 3) of geometries by index, all by default."""
    energies, forces = [], []
    chosen = torch.arange(len(tensors)) if indices is None else indices
    for chunk in chosen.split(CHUNK):
        energy, force = predictor(tensors.batch(chunk))
        energies.append(energy.cpu().numpy())
        forces.append(force.cpu().numpy())
    return np.concatenate(energies), np.concatenate(forces)


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
    remove_half_written()
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
