"""What makes the energies and forces of other objects something that can be tested."""

from collections.abc import Callable, Sequence
from typing import Any

import ase
import numpy as np
import torch

from idle_md.deploy import DeployedModel
from idle_md.engines.engine import Evaluate
from idle_md.engines.results import LeftOut, Prediction
from idle_md.neighbors import neighbor_list
from idle_md.nn import Potential


def _each(evaluate: Callable[[ase.Atoms], Prediction]) -> Evaluate:
    """Return what evaluates structures one after the other."""

    def evaluate_each(structures: Sequence[ase.Atoms]) -> list[Prediction | LeftOut]:
        return [evaluate(atoms) for atoms in structures]

    return evaluate_each


def model_evaluator(model: DeployedModel) -> Evaluate:
    """Return what gives a deployed model's energies and forces."""

    def evaluate(atoms: ase.Atoms) -> Prediction:
        system = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
        return Prediction(*model.evaluate(*system))

    return _each(evaluate)


def potential_evaluator(potential: Potential, fidelity: str) -> Evaluate:
    """Return what gives a potential's energies and forces of one fidelity, by autograd."""
    column = potential.column(fidelity)
    dtype = potential.dtype

    def evaluate(atoms: ase.Atoms) -> Prediction:
        cutoff = potential.backbone.cutoff
        pairs, shifts = neighbor_list(atoms.positions, cutoff, atoms.cell.array, atoms.pbc)
        points = torch.tensor(atoms.positions, requires_grad=True)
        edge_index = torch.from_numpy(pairs)
        vectors = points[edge_index[1]] - points[edge_index[0]] + torch.from_numpy(shifts)
        species = torch.as_tensor(atoms.numbers, dtype=torch.int64)
        energy = potential(species, edge_index, vectors.to(dtype))[:, column].sum()
        (gradient,) = torch.autograd.grad(energy, points)
        return Prediction(energy.item(), -gradient.numpy())

    return _each(evaluate)


@torch.no_grad()
def isolated_energies(potential: Potential, fidelity: str) -> dict[int, float]:
    """Return what a lone atom of each element must have in eV, by atomic number.

    That is its reference energy and, unless the fidelity is anchored, what the head gives without
    neighbours.
    """
    column = potential.column(fidelity)
    no_edges = torch.zeros((2, 0), dtype=torch.int64), next(potential.parameters()).new_zeros(0, 3)
    numbers = potential.backbone.elements
    energies = potential(torch.tensor(numbers), *no_edges)[:, column].tolist()
    return dict(zip(numbers, energies, strict=True))


def calculator_evaluator(calculator: Any) -> Evaluate:
    """Return what gives the energies and forces of any ASE calculator."""

    def evaluate(atoms: ase.Atoms) -> Prediction:
        calculator.calculate(atoms, ["energy", "forces"])
        results = calculator.results
        return Prediction(float(results["energy"]), np.array(results["forces"]))

    return _each(evaluate)


def openmm_evaluator(
    create_force: Callable[[Sequence[int], bool], Any], platform: str = "Reference"
) -> Evaluate:
    """Return what gives the energies and forces of an OpenMM force.

    Parameters
    ----------
    create_force
        Takes atomic numbers (N,) and periodicity, returns an ``openmm.Force``.
    platform
        Name of the OpenMM platform.
    """
    from idle_md.engines.openmm.engine import SinglePoints

    return SinglePoints(create_force, platform)
