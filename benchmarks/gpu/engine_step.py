"""A step as an engine takes it: from positions on the device to forces on the device."""

import ase
import torch
from torch import Tensor

from idle_md.deploy import DeployedModel
from idle_md.engines.openmm.module import Attachment
from idle_md.units import NM


class EngineStep:
    """What TorchForce runs of a model for some atoms.

    Parameters
    ----------
    model
        On any kernels and device.
    atoms
        Open or periodic.
    """

    def __init__(self, model: DeployedModel, atoms: ase.Atoms) -> None:
        periodic = bool(atoms.pbc.all())
        attachment = Attachment(atoms.numbers.tolist(), list(range(len(atoms))), periodic)
        self.module = attachment.script(model)
        self.positions = torch.from_numpy(atoms.positions / NM).to(model.device)
        box = torch.from_numpy(atoms.cell.array / NM).to(model.device)
        self.box = box if periodic else None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: tuple[Tensor, Tensor] | None = None

    def run(self) -> tuple[Tensor, Tensor]:
        """Return the energy in kJ/mol and the forces (N, 3) in kJ/mol/nm."""
        if self.graph is None or self.result is None:
            with torch.no_grad():
                energy, forces = self.module(self.positions, self.box)
            return energy, forces
        self.graph.replay()
        return self.result

    def capture(self) -> None:
        """Record the step as a CUDA graph, which `run` replays from then on.

        Raises
        ------
        RuntimeError
            If something in it cannot be recorded.
        """
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(5):
                self.run()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self.run()
        self.graph, self.result = graph, result
