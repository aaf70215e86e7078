"""Many structures evaluated together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.kernels import Kernels
from idle_md.edge_contract import edge_virial

EDGES_PER_CALL = 10_000
"""Where a batch ends, so that it stays in the caches of a processor."""


@dataclass(frozen=True)
class Evaluation:
    """What a model gives for one structure.

    Attributes
    ----------
    energy
        eV.
    energies
        Of the atoms (N,), in eV.
    forces
        (N, 3) in eV/angstrom.
    stress
        (6,) in eV/angstrom^3, in ASE's order and sign; None unless all directions are periodic.
    """

    energy: float
    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None


def evaluate(
    model: DeployedModel | str | Path,
    structures: Iterable[ase.Atoms],
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    kernels: Kernels = "auto",
    edges_per_call: int = EDGES_PER_CALL,
) -> list[Evaluation]:
    """Evaluate many structures, several of them in every call of the model.

    The numbers are those of :class:`idle_md.Calculator`; a committee's are its members' means.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    structures
        Of any size, elements that the model knows and any periodicity.
    device, dtype, kernels
        Of a model that is given as a path, see :func:`idle_md.deploy.load`.
    edges_per_call
        Structures share a call until they have so many edges; a larger structure has one to itself.
        More suit a GPU.

    Raises
    ------
    ValueError
        If the model is an explicit difference or does not know an element, or a structure has a
        cell without volume or a position that is no number; names the structure.
    """
    model = load(model, device, dtype, kernels)
    model.check_complete()
    results = []
    for batch in _batches(model, structures, edges_per_call):
        results += _evaluate_batch(model, batch)
    return results


def stress_of(virial: Tensor, atoms: ase.Atoms) -> NDArray[np.float64]:
    """Return the stress (6,) in ASE's order and sign in eV/angstrom^3 of a virial (3, 3) in eV."""
    stress = -virial.cpu().numpy() / atoms.get_volume()
    return np.asarray(full_3x3_to_voigt_6_stress(stress))


Entry = tuple[ase.Atoms, Tensor, Tensor, Tensor]
"""A structure, and its species (N,), edge_index (2, E) and edge_vectors (E, 3)."""


def _batches(
    model: DeployedModel, structures: Iterable[ase.Atoms], most_edges: int
) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for index, atoms in enumerate(structures):
        entry = _entry(model, atoms, index)
        own = max(entry[2].shape[1], len(atoms))
        if batch and size + own > most_edges:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += own
    if batch:
        yield batch


def _entry(model: DeployedModel, atoms: ase.Atoms, index: int) -> Entry:
    try:
        model.check_elements(atoms.numbers)
        system = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
        return atoms, *model.inputs(*system)
    except ValueError as error:
        raise ValueError(f"structure {index} ({atoms.symbols}): {error}") from error


def _evaluate_batch(model: DeployedModel, batch: Sequence[Entry]) -> list[Evaluation]:
    structures, *parts = zip(*batch, strict=True)
    atoms = np.cumsum([0, *(len(each) for each in structures)])
    edges = np.cumsum([0, *(index.shape[1] for index in parts[1])])
    species, vectors = torch.cat(parts[0]), torch.cat(parts[2])
    edge_index = torch.cat(
        [index + int(first) for index, first in zip(parts[1], atoms, strict=False)], dim=1
    )
    with torch.no_grad():
        energies, gradients = model.core(species, edge_index, vectors, len(species))
    energies, forces = (
        each.cpu().numpy() for each in (energies, model.forces(gradients, edge_index, len(species)))
    )

    def result(k: int) -> Evaluation:
        own, among = slice(*atoms[k : k + 2]), slice(*edges[k : k + 2])
        stress: Any = None
        if structures[k].pbc.all():
            stress = stress_of(edge_virial(gradients[among], vectors[among]), structures[k])
        return Evaluation(float(energies[own].sum()), energies[own], forces[own], stress)

    return [result(k) for k in range(len(structures))]
