"""Deployed models in torch-sim: many systems at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor
from torch_sim.io import atoms_to_state
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.kernels import Kernels
from idle_md.edge_contract import edge_virials, join, sum_by_system
from idle_md.engines.edges.base import SKIN
from idle_md.engines.engine import Evaluate
from idle_md.engines.results import LeftOut, Prediction
from idle_md.neighbors import SkinList

MIXED = "torch-sim wants all directions periodic, or none"


class TorchSimModel(ModelInterface):  # type: ignore[misc]
    """A deployed model for torch-sim, which runs dynamics of a batch of systems.

    All systems share one call of the model. Each keeps its neighbours on the CPU, until one of its
    atoms has moved by 0.25 angstrom.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    device, dtype, kernels
        Of a model that is given as a path, see :func:`idle_md.deploy.load`.

    Raises
    ------
    ValueError
        If the model is an explicit difference. On calculation, if it does not know an element;
        names elements and atoms.
    """

    def __init__(
        self,
        model: DeployedModel | str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        kernels: Kernels = "auto",
    ) -> None:
        super().__init__()
        model = load(model, device, dtype, kernels)
        model.check_complete()
        self.model = model
        self._device, self._dtype = model.device, model.dtype
        self._compute_forces = self._compute_stress = True
        self._lists: list[SkinList] = []

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Return energies, forces and stresses of all systems of a state.

        Parameters
        ----------
        state
            A ``SimState`` of S systems and N atoms, in angstrom, or a dictionary of what makes one.

        Returns
        -------
        results
            ``energy`` (S,) in eV, ``forces`` (N, 3) in eV/angstrom and ``stress`` (S, 3, 3) in
            eV/angstrom^3, which is no number where the cell has no volume.
        """
        if isinstance(state, dict):
            state = SimState(**state, masses=torch.ones_like(state["atomic_numbers"]))
        numbers = state.atomic_numbers
        self.model.check_elements(numbers.tolist())
        system, cells = state.system_idx, state.row_vector_cell
        edge_index, vectors = self._edges(state.positions, cells, state.pbc, system)
        with torch.no_grad():
            energies, gradients = self.model.core(numbers.long(), edge_index, vectors, len(numbers))
        total = sum_by_system(energies, system, len(cells))
        virials = edge_virials(gradients, vectors, system[edge_index[0]], len(cells))
        volume = torch.linalg.det(cells.double()).abs()[:, None, None]
        stress = -virials / torch.where(volume > 0, volume, np.nan)
        forces = self.model.forces(gradients, edge_index, len(numbers))
        found = {"energy": total, "forces": forces, "stress": stress}
        return {name: values.to(self.dtype) for name, values in found.items()}

    def _edges(
        self, positions: Tensor, cells: Tensor, pbc: Any, system: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3) of all systems."""
        points, boxes = positions.double().cpu().numpy(), cells.double().cpu().numpy()
        periodic = np.array(np.broadcast_to(np.asarray(torch.as_tensor(pbc).cpu()), 3))
        firsts = np.searchsorted(system.cpu().numpy(), np.arange(len(boxes) + 1))
        while len(self._lists) < len(boxes):
            self._lists.append(SkinList(self.model.metadata.cutoff_angstrom, SKIN))
        pairs, vectors = [], []
        for k, (kept, box) in enumerate(zip(self._lists, boxes, strict=False)):
            index, own = kept.edges(points[firsts[k] : firsts[k + 1]], box, periodic)
            pairs.append(torch.from_numpy(index))
            vectors.append(own)
        edge_index = join(pairs, np.diff(firsts).tolist()).to(self.device)
        return edge_index, torch.from_numpy(np.concatenate(vectors)).to(self.device, self.dtype)


@dataclass(frozen=True)
class TorchSimEngine:
    """torch-sim, see :class:`~idle_md.engines.engine.Engine`."""

    name: str = "torch-sim"

    def why_not(self, model: DeployedModel | None = None) -> str | None:
        """Return why the numbers of a model are not its own in torch-sim."""
        if model is not None and model.dtype != torch.float64:
            return f"torch-sim rounds positions and energies to the model's {model.dtype}"
        return None

    def evaluator(self, path: str | Path) -> Evaluate:
        """Return what evaluates structures that are periodic in all directions, or in none."""
        model = TorchSimModel(path)

        def evaluate(structures: Sequence[ase.Atoms]) -> list[Prediction | LeftOut]:
            results: list[Prediction | LeftOut] = [LeftOut(MIXED)] * len(structures)
            for periodic in (True, False):  # a state has one periodicity
                alike = [k for k, atoms in enumerate(structures) if (atoms.pbc == periodic).all()]
                if alike:
                    found = _single_points(model, [structures[k] for k in alike])
                    for k, prediction in zip(alike, found, strict=True):
                        results[k] = prediction
            return results

        return evaluate


def _single_points(model: TorchSimModel, structures: list[ase.Atoms]) -> list[Prediction]:
    found = model(atoms_to_state(structures, model.device, model.dtype))
    energies, stresses = found["energy"].tolist(), found["stress"].cpu().numpy()
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    forces = np.split(found["forces"].cpu().numpy(), ends)
    return [
        Prediction(
            energy,
            force,
            stress=full_3x3_to_voigt_6_stress(stress) if atoms.pbc.all() else None,
        )
        for atoms, energy, force, stress in zip(structures, energies, forces, stresses, strict=True)
    ]
