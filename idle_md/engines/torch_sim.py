"""Deployed models in torch-sim: many systems at once."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_sim.models.interface import ModelInterface  # type: ignore[import-not-found]
from torch_sim.state import SimState  # type: ignore[import-not-found]

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.kernels import Kernels
from idle_md.engines.edges.base import SKIN
from idle_md.neighbors import SkinList


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
        total = torch.zeros(len(cells), dtype=torch.float64, device=self.device)
        total.index_add_(0, system, energies.double())
        virial = torch.zeros((len(cells), 3, 3), dtype=torch.float64, device=self.device)
        outer = vectors.double()[:, :, None] * gradients.double()[:, None, :]
        virial.index_add_(0, system[edge_index[0]], outer, alpha=-1.0)
        volume = torch.linalg.det(cells.double()).abs()[:, None, None]
        stress = -0.5 * (virial + virial.transpose(1, 2)) / torch.where(volume > 0, volume, np.nan)
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
            pairs.append(index + firsts[k])
            vectors.append(own)
        edge_index = torch.from_numpy(np.concatenate(pairs, axis=1)).to(self.device)
        return edge_index, torch.from_numpy(np.concatenate(vectors)).to(self.device, self.dtype)
