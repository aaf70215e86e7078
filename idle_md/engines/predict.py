"""Many structures evaluated together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np
import torch
from torch import Tensor

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.failures import ZERO_LENGTH, why_no_numbers
from idle_md.deploy.gate import Remarks, check_elements
from idle_md.deploy.kernels import Kernels
from idle_md.deploy.replay import Replayed
from idle_md.edge_contract import edge_virials, join, sum_by_system
from idle_md.engines.edges.all_pairs import pairs_of
from idle_md.engines.edges.choice import takes_all_pairs
from idle_md.engines.engine import Evaluate, Runnable, why_not_on
from idle_md.engines.results import LeftOut, Prediction, PredictionError, stress_of
from idle_md.neighbors import check_system

EDGES_PER_CALL = {"cpu": 10_000, "cuda": 500_000}
"""Where a batch ends: one that stays in the caches of a processor, or fills a GPU."""


def predict(
    model: DeployedModel | str | Path,
    structures: Iterable[ase.Atoms],
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    kernels: Kernels = "auto",
    edges_per_call: int | None = None,
    relative: bool = False,
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
        within the cutoff; a larger structure has a call to itself. By default 10,000, and 500,000
        on a GPU, where all pairs of a molecule of up to 128 atoms are edges.
    relative
        Give energies relative to lone atoms, see :func:`idle_md.load`.

    Returns
    -------
    list of Prediction
        One for every structure, in their order: ``energy`` in eV, ``forces`` (N, 3) in eV/angstrom,
        ``energies`` of the atoms (N,) in eV and, of structures that are periodic in all directions,
        ``stress`` (6,) in eV/angstrom^3, in ASE's order and sign.

    Warns
    -----
    StateWarning
        If structures have a charge or a spin that the model was not trained on, as far as is known.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the model is an explicit difference.
    PredictionError
        A ValueError, after all structures: if the model does not know an element, or a structure
        has a cell without volume, a position that is no number, or two atoms in one place; names
        the structure. Its ``results`` are those of the others.

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
    model = load(model, device, dtype, kernels, relative)
    model.check_complete()
    found: dict[int, Prediction] = {}
    left_out: dict[int, str] = {}
    remarks = Remarks(model.metadata)
    most = edges_per_call or EDGES_PER_CALL[model.device.type]
    for batch in _batches(model, structures, most, remarks, left_out):
        for (place, atoms, _), result in zip(batch, _checked(model, batch), strict=True):
            if isinstance(result, Prediction):
                found[place] = result
            else:
                left_out[place] = _named(place, atoms, result)
    remarks.warn()
    if left_out:
        raise PredictionError(found, left_out)
    return [found[index] for index in sorted(found)]


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
    device
        Where it runs.
    """

    kernels: Runnable
    device: str = "cpu"

    @property
    def name(self) -> str:
        """What it is called in Python, and the kernels."""
        return f"predict, {self.kernels}"

    def why_not(self, model: DeployedModel | None = None) -> str | None:
        """Return why there are no such kernels for the model here."""
        return why_not_on(self.kernels, model)

    def evaluator(self, path: str | Path) -> Evaluate:
        """Return what evaluates structures of any periodicity together."""
        model = load(path, self.device, kernels=self.kernels)

        def evaluate(structures: Sequence[ase.Atoms]) -> list[Prediction | LeftOut]:
            return list(predict(model, structures))

        return evaluate


class Entry(NamedTuple):
    """A structure, and its edge_index (2, E) and edge_vectors (E, 3), if they are not all pairs."""

    place: int
    atoms: ase.Atoms
    edges: tuple[Tensor, Tensor] | None

    @property
    def size(self) -> int:
        """What it adds to a batch: edges, or atoms where there are more of them."""
        n_atoms = len(self.atoms)
        n_edges = n_atoms * (n_atoms - 1) if self.edges is None else self.edges[0].shape[1]
        return max(n_edges, n_atoms)


def _batches(
    model: DeployedModel,
    structures: Iterable[ase.Atoms],
    most_edges: int,
    remarks: Remarks,
    left_out: dict[int, str],
) -> Iterator[list[Entry]]:
    """Yield structures that share a call; write down which cannot be evaluated, and why."""
    batch: list[Entry] = []
    size = 0
    for index, atoms in enumerate(structures):
        try:
            entry = _entry(model, atoms, index)
            remarks.note(index, atoms)
        except ValueError as error:
            left_out[index] = _named(index, atoms, str(error))
            continue
        own = entry.size
        is_other = bool(batch) and (batch[0].edges is None) != (entry.edges is None)
        if batch and (is_other or size + own > most_edges):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += own
    if batch:
        yield batch


def _entry(model: DeployedModel, atoms: ase.Atoms, index: int) -> Entry:
    check_elements(model.metadata, atoms.numbers)
    system = atoms.positions, model.metadata.cutoff_angstrom, atoms.cell.array, atoms.pbc
    if takes_all_pairs(model, len(atoms), bool(atoms.pbc.any())):
        check_system(*system)
        return Entry(index, atoms, None)
    _, edge_index, vectors = model.inputs(
        atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
    )
    return Entry(index, atoms, (edge_index, vectors))


def _named(index: int, atoms: ase.Atoms, reason: str) -> str:
    return f"structure {index} ({atoms.symbols}): {reason}"


def _checked(model: DeployedModel, batch: Sequence[Entry]) -> list[Prediction | str]:
    """Return predictions, or why there is none: one structure can take the others' numbers."""
    try:
        results = _predict_batch(model, batch)
    except RuntimeError as error:
        if ZERO_LENGTH not in str(error):
            raise
        results = []
    if results and all(
        np.isfinite(each.energy) and np.isfinite(each.forces).all() for each in results
    ):
        return list(results)
    if len(batch) == 1:
        return [why_no_numbers(batch[0].atoms)]
    return [one for entry in batch for one in _checked(model, [entry])]


def _predict_batch(model: DeployedModel, batch: Sequence[Entry]) -> list[Prediction]:
    structures = [entry.atoms for entry in batch]
    sizes = [len(atoms) for atoms in structures]
    numbers = torch.from_numpy(np.concatenate([atoms.numbers for atoms in structures]))
    species = numbers.to(model.device, torch.int64)
    system = torch.repeat_interleave(torch.tensor(sizes)).to(model.device)
    edges = [entry.edges for entry in batch if entry.edges is not None]
    if edges:
        indices, vectors = map(list, zip(*edges, strict=True))
        with_virials = any(bool(atoms.pbc.all()) for atoms in structures)
        joined = join(indices, sizes), torch.cat(vectors)
        found = _evaluated(model, species, system, len(batch), with_virials, *joined)
    else:
        points = torch.from_numpy(np.concatenate([atoms.positions for atoms in structures]))
        pairs = pairs_of(sizes).to(model.device)
        found = _open_systems(model)(species, system, len(batch), pairs, points.to(model.device))
    totals, energies, forces, *virials = (each.cpu().numpy() for each in found)
    stresses = [
        stress_of(virials[0][k], atoms) if atoms.pbc.all() else None
        for k, atoms in enumerate(structures)
    ]
    ends = np.cumsum(sizes)[:-1]
    parts = np.split(forces, ends), np.split(energies, ends)
    return list(map(Prediction, totals.tolist(), *parts, stresses))


@torch.no_grad()
def _evaluated(
    model: DeployedModel,
    species: Tensor,
    system: Tensor,
    count: int,
    with_virials: bool,
    edge_index: Tensor,
    vectors: Tensor,
) -> tuple[Tensor, ...]:
    """Return energies (S,) and (N,), forces (N, 3) and, if wanted, virials (S, 3, 3)."""
    energies, gradients = model.core(species, edge_index, vectors, len(species))
    forces = model.forces(gradients, edge_index, len(species))
    found = sum_by_system(energies, system, count), energies, forces
    if not with_virials:
        return found
    return *found, edge_virials(gradients, vectors, system[edge_index[0]], count)


def _open_systems(model: DeployedModel) -> Callable[..., tuple[Tensor, ...]]:
    """Return what evaluates all pairs within molecules, as a CUDA graph where batches are alike."""

    def step(
        species: Tensor, system: Tensor, count: int, pairs: Tensor, points: Tensor
    ) -> tuple[Tensor, ...]:
        vectors = (points[pairs[1]] - points[pairs[0]]).to(model.dtype)
        return _evaluated(model, species, system, count, False, pairs, vectors)

    if not model.can_be_replayed:
        return step
    if "open systems" not in model.kept:
        model.kept["open systems"] = Replayed(step, model.device)
    replayed: Replayed = model.kept["open systems"]
    return replayed
