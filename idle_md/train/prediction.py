"""Energies, forces and stresses of models, for a loss to be differentiated again, or for errors."""

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
from idle_md.edge_contract import edge_forces, edge_virials, sum_by_system
from idle_md.nn import Potential
from idle_md.train.compiler_cache import remove_half_written

Gradients = tuple[Tensor, list[Tensor]]
Predictor = Callable[[Batch], tuple[Tensor, Tensor, Tensor]]
"""Gives total energies (B,) in eV, forces (N, 3) in eV/angstrom, stresses (B, 6) in eV/angstrom^3,
float64."""
Values = npt.NDArray[np.float64]
CHUNK = 64  # geometries predicted at a time


@dataclass(frozen=True)
class Prediction:
    """Residual energies (B, n_fidelities) in eV above the reference energies, and derivatives.

    ``forces`` (N, 3) in eV/angstrom and ``stresses`` (B, 6) in eV/angstrom^3 by output column, for
    the columns that were asked for. All are in float64.
    """

    energies: Tensor
    forces: dict[int, Tensor]
    stresses: dict[int, Tensor]


def predict(
    potential: Potential,
    batch: Batch,
    force_columns: Sequence[int],
    stress_columns: Sequence[int] = (),
    create_graph: bool = False,
    compiled: bool = False,
) -> Prediction:
    """Return residual energies of every fidelity, and forces and stresses of some.

    Parameters
    ----------
    potential
        The model.
    batch
        Geometries, on the model's device and in its precision.
    force_columns, stress_columns
        Output columns whose forces, or stresses, are wanted.
    create_graph
        Whether these will be differentiated again.
    compiled
        Whether to compile the model; the result can be differentiated either way.
    """
    columns = tuple(dict.fromkeys([*force_columns, *stress_columns]))
    graph = potential, batch.species, batch.edge_index, batch.edge_vectors, columns
    atomic, found = compiled_gradients()(*graph) if compiled else gradients(*graph, create_graph)
    by_column = dict(zip(columns, found, strict=True))
    n_atoms = len(batch.species)
    return Prediction(
        sum_by_system(atomic, batch.graph_index, batch.n_graphs),
        {k: edge_forces(by_column[k], batch.edge_index, n_atoms) for k in force_columns},
        {k: edge_stresses(by_column[k], batch) for k in stress_columns},
    )


def edge_stresses(gradients: Tensor, batch: Batch) -> Tensor:
    """Return stresses (B, 6) in eV/angstrom^3, float64, in ASE's order and sign, of edge gradients.

    They are the energy's derivative by strain over the volume, minus the virial over the volume;
    zero for geometries that are not periodic in all three directions, whose volume is infinite.
    """
    system = batch.graph_index[batch.edge_index[0]]
    virials = edge_virials(gradients, batch.edge_vectors, system, batch.n_graphs)
    six = virials.flatten(1)[:, [0, 4, 8, 5, 2, 1]]  # xx, yy, zz, yz, xz, xy
    return -six / batch.volumes[:, None]


def potential_predictor(potential: Potential, fidelity: str) -> Predictor:
    """Return what predicts one fidelity of a potential."""
    column = potential.column(fidelity)

    def predicted(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        batch = batch.to(potential.device)
        found = predict(potential, batch, [column], [column])
        reference = potential.reference_energies[batch.species, column]
        total = sum_by_system(reference, batch.graph_index, batch.n_graphs)
        energies = found.energies[:, column].detach() + total
        return energies, found.forces[column], found.stresses[column]

    return predicted


def committee_predictor(potentials: Sequence[Potential], fidelity: str) -> Predictor:
    """Return what predicts the means of the potentials' energies, forces and stresses."""
    predictors = [potential_predictor(potential, fidelity) for potential in potentials]

    def predicted(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        energies, forces, stresses = zip(*(each(batch) for each in predictors), strict=True)
        e, f, s = (torch.stack(each).mean(0) for each in (energies, forces, stresses))
        return e, f, s

    return predicted


def deployed_predictor(model: DeployedModel) -> Predictor:
    """Return what predicts with an exported model."""

    def predicted(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        batch = batch.to(model.device)
        n_atoms = len(batch.species)
        atomic, gradient = model.core(batch.species, batch.edge_index, batch.edge_vectors, n_atoms)
        energies = sum_by_system(atomic, batch.graph_index, batch.n_graphs)
        forces = edge_forces(gradient, batch.edge_index, n_atoms)
        return energies, forces, edge_stresses(gradient, batch)

    return predicted


def predict_all(
    predictor: Predictor, tensors: GeometryTensors, indices: Tensor | None = None
) -> tuple[Values, Values, Values]:
    """Return energies (G,), forces (A, 3), stresses (G, 6) of geometries by index, by default all.

    Stresses are zero where geometries are not periodic in all three directions.
    """
    chosen = torch.arange(len(tensors)) if indices is None else indices
    found = [[t.cpu().numpy() for t in predictor(tensors.batch(c))] for c in chosen.split(CHUNK)]
    energies, forces, stresses = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return energies, forces, stresses


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
