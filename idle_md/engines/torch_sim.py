"""Deployed models in torch-sim: many systems at once."""

from collections.abc import Callable, Sequence
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
from idle_md.deploy.failures import NEAR, ONE_PLACE, UNKNOWN, ZERO_LENGTH, too_close
from idle_md.deploy.gate import Remarks, check_elements
from idle_md.deploy.kernels import Kernels
from idle_md.deploy.replay import Replayed
from idle_md.edge_contract import edge_virials, sum_by_system
from idle_md.engines.edges.systems import Lists, lists_for
from idle_md.engines.engine import Evaluate
from idle_md.engines.results import LeftOut, Prediction
from idle_md.states import State

MIXED = "torch-sim wants all directions periodic, or none"


class TorchSimModel(ModelInterface):  # type: ignore[misc]
    """A deployed model for torch-sim, which runs dynamics of a batch of systems.

    All systems share one call of the model. Each keeps its neighbours until one of its atoms has
    moved by 0.25 angstrom. On a GPU, native operators find them there, and all pairs of small
    molecules are taken: positions do not leave it, and steps are replayed as a CUDA graph. Nothing
    waits for it there, so that a system which gets too dense for its list, or breaks, has energies
    and forces that are not numbers.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    device, dtype, kernels, relative
        Of a model that is given as a path, see :func:`idle_md.deploy.load`.

    Raises
    ------
    ValueError
        If the model is an explicit difference. On calculation, if it does not know an element;
        names elements and atoms; or, on the CPU, if the energy of a system is not a number; names
        the system and atoms that are in one place.
    """

    def __init__(
        self,
        model: DeployedModel | str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        kernels: Kernels = "auto",
        relative: bool = False,
    ) -> None:
        super().__init__()
        model = load(model, device, dtype, kernels, relative)
        model.check_complete()
        self.model = model
        self._device, self._dtype = model.device, model.dtype
        self._compute_forces = self._compute_stress = True
        self._begin()

    def _begin(self) -> None:
        """Begin without systems, which no two models share."""
        self._systems: tuple[Any, ...] = (None, None, None)
        self._lists: Lists | None = None
        self._step: Callable[..., tuple[Tensor, ...]] = self._tensors
        if self.model.can_be_replayed:
            self._step = Replayed(self._tensors, self.model.device)

    def __getstate__(self) -> dict[str, Any]:
        own = ("_systems", "_lists", "_step")
        return {name: each for name, each in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._begin()

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Return energies, forces and stresses of all systems of a state.

        Parameters
        ----------
        state
            A ``SimState`` of S systems and N atoms, in angstrom, or a dictionary of what makes one.

        Returns
        -------
        results
            ``energy`` (S,) in eV, in float64 whatever the precision: that of a large system has no
            digits left for differences in float32. ``forces`` (N, 3) in eV/angstrom and ``stress``
            (S, 3, 3) in eV/angstrom^3, which is no number where the cell has no volume.
        """
        if isinstance(state, dict):
            state = SimState(**state, masses=torch.ones_like(state["atomic_numbers"]))
        positions, cells = state.positions, state.row_vector_cell
        lists = self._lists_for(state)
        try:
            energy, forces, stress = self._step(
                *(state.atomic_numbers, state.system_idx, cells, lists.kind),
                *lists.inputs(positions, cells),
            )
        except RuntimeError as error:
            if ZERO_LENGTH not in str(error):
                raise
            raise ValueError(_too_close(state, NEAR)) from None
        if energy.device.type == "cpu" and not torch.isfinite(energy).all():
            raise ValueError(_too_close(state, NEAR) or UNKNOWN)
        return {"energy": energy, "forces": forces.to(self.dtype), "stress": stress.to(self.dtype)}

    @torch.no_grad()
    def _tensors(
        self, numbers: Tensor, system: Tensor, cells: Tensor, kind: Any, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        """Return energies (S,), forces (N, 3) and stresses (S, 3, 3)."""
        assert self._lists is not None
        edge_index, vectors = self._lists.edges(*inputs)
        energies, gradients = self.model.core(numbers.long(), edge_index, vectors, len(numbers))
        total = sum_by_system(energies, system, len(cells))
        virials = edge_virials(gradients, vectors, system[edge_index[0]], len(cells))
        a, b, c = cells.double().unbind(1)
        volume = (a * torch.linalg.cross(b, c)).sum(1).abs()[:, None, None]
        stress = -virials / torch.where(volume > 0, volume, np.nan)
        return total, self.model.forces(gradients, edge_index, len(numbers)), stress

    def _lists_for(self, state: Any) -> Lists:
        """Return the lists of a state's systems, which are others where the systems are."""
        now = (state.atomic_numbers, state.system_idx, state.pbc)
        is_same = all(one is other for one, other in zip(now, self._systems, strict=True))
        if self._lists is not None and is_same and self.device.type != "cpu":
            return self._lists  # and nothing waits
        check_elements(self.model.metadata, state.atomic_numbers.tolist())
        sizes = torch.bincount(state.system_idx, minlength=len(state.cell)).tolist()
        periodic = np.broadcast_to(torch.as_tensor(state.pbc).cpu().numpy(), 3).tolist()
        kind = tuple(sizes), tuple(periodic)
        if self._lists is None or self._lists.kind != kind:
            lists = lists_for(self.model, kind)
            lists.begin(state.positions, state.row_vector_cell)
            self._lists = lists
        if not is_same:
            self._note_states(state, sizes, is_whole=not any(periodic))
        if not is_same and self.device.type == "cpu":
            reason = _too_close(state, ONE_PLACE)
            if reason:
                raise ValueError(reason)
        self._systems = now
        return self._lists

    def _note_states(self, state: Any, sizes: list[int], *, is_whole: bool) -> None:
        """Compare what is known of each system's charge with what the model was trained on."""
        charges = getattr(state, "charge", None)  # not in torch-sim 0.3
        known = [None] * len(sizes) if charges is None else charges.tolist()
        remarks = Remarks(self.model.metadata)
        numbers = np.split(state.atomic_numbers.cpu().numpy(), np.cumsum(sizes)[:-1])
        for place, (own, charge) in enumerate(zip(numbers, known, strict=True)):
            remarks.note_state(place, own.tolist(), State(charge), is_whole=is_whole)
        remarks.warn()


def _too_close(state: Any, limit: float) -> str:
    """Return which system of a state has atoms that are closer than a limit, and which they are."""
    for index, atoms in enumerate(state.to_atoms()):
        reason = too_close(atoms, limit)
        if reason:
            return f"system {index} ({atoms.symbols}): {reason}"
    return ""


@dataclass(frozen=True)
class TorchSimEngine:
    """torch-sim, see :class:`~idle_md.engines.engine.Engine`.

    Attributes
    ----------
    device
        Where the model runs.
    """

    device: str = "cpu"
    name: str = "torch-sim"

    def why_not(self, model: DeployedModel | None = None) -> str | None:
        """Return why the numbers of a model are not its own in torch-sim."""
        if model is not None and model.dtype != torch.float64:
            return f"torch-sim rounds positions and forces to the model's {model.dtype}"
        return None

    def evaluator(self, path: str | Path) -> Evaluate:
        """Return what evaluates structures that are periodic in all directions, or in none."""
        model = TorchSimModel(path, self.device)

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
