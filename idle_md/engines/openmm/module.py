"""What OpenMM runs of a deployed model: a TorchScript module in OpenMM's units."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from idle_md.deploy import DeployedModel
from idle_md.deploy.torchscript import flatten
from idle_md.engines.edges.choice import Neighbors, edges_for
from idle_md.units import KJ_PER_MOL

Energy = Literal["total", "interaction"]
KEPT = ("metadata", "periodic", "problem", "make_room")
PICKLED_AS = "idle_md.engines.openmm"
"""Where a System's XML looks for the classes that are pickled into it, wherever they stand."""


@dataclass(frozen=True)
class Attachment:
    """How a model is attached to a System.

    Attributes
    ----------
    numbers, atoms
        Atomic numbers (n,) of the particles that the model describes, and their indices (n,) among
        all particles.
    periodic
        Whether box vectors are given and used.
    neighbors
        How edges are found.
    energy
        With or without the reference energies.
    """

    numbers: list[int]
    atoms: list[int]
    periodic: bool
    neighbors: Neighbors = "auto"
    energy: Energy = "total"

    __module__ = PICKLED_AS

    def script(self, model: DeployedModel, in_one_place: bool = False) -> torch.jit.ScriptModule:
        """Return what an engine runs.

        Parameters
        ----------
        model
            The deployed model.
        in_one_place
            Whether results are in the same memory at every call, see :class:`_InOnePlace`.
        """
        module: nn.Module = OpenMMModule(model, self)
        if model.uses_autograd:
            module = _OnAnotherThread(module)
        return flatten((_InOnePlace(module) if in_one_place else module).eval(), KEPT)


class OpenMMModule(nn.Module):
    """Energy and forces of particles in OpenMM's units; what a TorchForce runs.

    Parameters
    ----------
    model
        The deployed model.
    attachment
        The particles.
    """

    def __init__(self, model: DeployedModel, attachment: Attachment) -> None:
        super().__init__()
        self.metadata = model.core.metadata
        self.core = model.core
        self.periodic = attachment.periodic
        device = model.device
        numbers = torch.as_tensor(attachment.numbers, dtype=torch.int64, device=device)
        atoms = torch.as_tensor(attachment.atoms, dtype=torch.int64, device=device)
        self.numbers = nn.Buffer(numbers)
        self.edges: Any = edges_for(model, atoms, attachment.periodic, attachment.neighbors)
        self.offset = 0.0  # kJ/mol
        if attachment.energy == "interaction":
            references = model.metadata.reference_energies_ev
            self.offset = sum(references[z] for z in attachment.numbers) / KJ_PER_MOL

    def forward(self, positions: Tensor, box: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the energy in kJ/mol and the forces (N, 3) in kJ/mol/nm.

        Parameters
        ----------
        positions
            (N, 3) in nm, wrapped into the box or not, in any floating-point precision.
        box
            Box vectors as rows (3, 3) in nm; needed where the system is periodic.
        """
        if self.periodic and box is None:
            raise ValueError("the model sees periodic images: it needs box vectors")
        with torch.no_grad():
            edge_index, vectors = self.edges(positions, box if self.periodic else None)
            energies, gradients = self.core(self.numbers, edge_index, vectors, len(self.numbers))
            energy, forces = self.edges.totals(energies, gradients, edge_index, positions)
        if self.offset != 0.0:
            energy = energy - self.offset
        return energy, forces

    @torch.jit.export
    def problem(self) -> int:
        """Return what was wrong with the neighbour list, where that gives no numbers."""
        return int(self.edges.problem())

    @torch.jit.export
    def make_room(self) -> None:
        """Double the room of a neighbour list on a GPU."""
        self.edges.make_room()


class _Around(nn.Module):
    """A module around an :class:`OpenMMModule`, with what that has beside its ``forward``."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module
        self.metadata, self.periodic = module.metadata, module.periodic

    @torch.jit.export
    def problem(self) -> int:
        return int(self.module.problem())

    @torch.jit.export
    def make_room(self) -> None:
        self.module.make_room()


class _OnAnotherThread(_Around):
    """A module that differentiates by autograd, run by another thread than the one that calls it.

    Autograd refuses threads that hold Python's lock, as OpenMM's minimiser does where it has a
    reporter. All of it runs there: what follows a wait in TorchScript may go on in the other
    thread, and so would not give the caller back the gradient mode that it had.

    Parameters
    ----------
    module
        What runs.
    """

    def forward(self, positions: Tensor, box: Tensor | None = None) -> tuple[Tensor, Tensor]:
        running = torch.jit.fork(self.module, positions, box)
        energy, forces = torch.jit.wait(running)
        return energy, forces


class _InOnePlace(_Around):
    """A module whose results are in the same memory at every call; one Context's alone.

    A TorchForce of openmmtorch 1.5 records two CUDA graphs, of evaluations with forces and without,
    and reads what the later one has written, whichever of the two it replays.

    Parameters
    ----------
    module
        What runs.
    """

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.energy: Tensor = nn.Buffer(torch.zeros((), dtype=torch.float64))
        self.forces: Tensor = nn.Buffer(torch.empty(0))

    def forward(self, positions: Tensor, box: Tensor | None = None) -> tuple[Tensor, Tensor]:
        energy, forces = self.module(positions, box)
        if self.forces.shape != forces.shape or self.forces.dtype != forces.dtype:
            self.energy, self.forces = torch.empty_like(energy), torch.empty_like(forces)
        self.energy.copy_(energy)
        self.forces.copy_(forces)
        return self.energy, self.forces
