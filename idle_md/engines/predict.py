"""Many structures evaluated together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from torch import Tensor

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.kernels import Kernels
from idle_md.edge_contract import edge_virials, join, sum_by_system
from idle_md.engines.engine import Evaluate, Runnable, why_not_on
from idle_md.engines.results import Array, LeftOut, Prediction, stress_of

EDGES_PER_CALL = 10_000
"""Where a batch ends, so that it stays in the caches of a processor."""


def predict(
    model: DeployedModel | str | Path,
    structures: Iterable[ase.Atoms],
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    kernels: Kernels = "auto",
    edges_per_call: int = EDGES_PER_CALL,
) -> list[Prediction]:
    """Return energies, forces and stresses of many structures, several in every call of the model.

    The numbers are those of :class:`idle_md.Calculator`; a committee's are its members' means.

    Parameters
    ----------
    model
        A deployed model, or the path of one (``model.pt``, which ``idle-md export`` writes).
    structures
        Any iterable, of which no more is held than one call needs. Of any size, elements that the
        model knows and any periodicity.
    device, dtype, kernels
        Of a model that is given as a path, see :func:`idle_md.load`.
    edges_per_call
        Structures share a call until they have so many edges, which are directed pairs of atoms
        within the cutoff; a larger structure has a call to itself. More suit a GPU.

    Returns
    -------
    list of Prediction
        One for every structure, in their order: ``energy`` in eV, ``forces`` (N, 3) in eV/angstrom,
        ``energies`` of the atoms (N,) in eV and, of structures that are periodic in all directions,
        ``stress`` (6,) in eV/angstrom^3, in ASE's order and sign.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the model is an explicit difference or does not know an element, or a structure has a
        cell without volume or a position that is no number; names the structure.

    Examples
    --------
    >>> import ase.build, idle_md
    >>> molecules = [ase.build.molecule(name) for name in ("H2O", "CH3CH2OH")]
    >>> water, ethanol = idle_md.predict("model.pt", molecules)
    >>> ethanol.forces.shape  # in eV/angstrom
    (9, 3)
    >>> water.stress is None
    True
    """
    model = load(model, device, dtype, kernels)
    model.check_complete()
    results: list[Prediction] = []
    for batch in _batches(model, structures, edges_per_call):
        results += _predict_batch(model, batch)
    return results


def evaluate(*arguments: Any, **options: Any) -> list[Prediction]:
    """Return what :func:`predict` returns, whose old name this is; it stays for one release."""
    return predict(*arguments, **options)


@dataclass(frozen=True)
class PredictEngine:
    """Batches of structures in Python, see :class:`~idle_md.engines.engine.Engine`.

    Attributes
    ----------
    kernels
        What the model runs on.
    """

    kernels: Runnable

    @property
    def name(self) -> str:
        """What it is called in Python, and the kernels."""
        return f"predict, {self.kernels}"

    def why_not(self, model: DeployedModel | None = None) -> str | None:
        """Return why there are no such kernels for the model here."""
        return why_not_on(self.kernels, model)

    def evaluator(self, path: str | Path) -> Evaluate:
        """Return what evaluates structures of any periodicity together."""
        model = load(path, kernels=self.kernels)

        def evaluate(structures: Sequence[ase.Atoms]) -> list[Prediction | LeftOut]:
            return list(predict(model, structures))

        return evaluate


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


def _predict_batch(model: DeployedModel, batch: Sequence[Entry]) -> list[Prediction]:
    structures, species, edge_indices, vectors = map(list, zip(*batch, strict=True))
    sizes = [len(atoms) for atoms in structures]
    edge_index, edge_vectors = join(edge_indices, sizes), torch.cat(vectors)
    n_atoms = sum(sizes)
    with torch.no_grad():
        energies, gradients = model.core(torch.cat(species), edge_index, edge_vectors, n_atoms)
    system = torch.repeat_interleave(torch.tensor(sizes, device=model.device))
    totals = sum_by_system(energies, system, len(batch)).tolist()
    stresses: list[Array | None] = [None] * len(batch)
    if any(atoms.pbc.all() for atoms in structures):
        of_edges = system[edge_index[0]]
        virials = edge_virials(gradients, edge_vectors, of_edges, len(batch)).cpu().numpy()
        stresses = [
            stress_of(virial, atoms) if atoms.pbc.all() else None
            for virial, atoms in zip(virials, structures, strict=True)
        ]
    ends = np.cumsum(sizes)[:-1]
    parts = (
        np.split(each.cpu().numpy(), ends)
        for each in (model.forces(gradients, edge_index, n_atoms), energies)
    )
    return list(map(Prediction, totals, *parts, stresses))
