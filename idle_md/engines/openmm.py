"""Deployed models as OpenMM forces.

Importing this module also registers what the forces are made of, so import it before reading a
System that holds one of them from XML.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from openmm import Force, PythonForce, State, app, unit
from torch import Tensor, nn

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.native import Kernels, find_library, load_operators
from idle_md.deploy.torchscript import flatten, from_bytes, to_bytes
from idle_md.engines.edges import edges_for
from idle_md.engines.particles import chosen_particles, is_periodic
from idle_md.engines.spread import SpreadError, SpreadReporter
from idle_md.engines.torchforce import load_torch_force

__all__ = [
    "Backend",
    "OpenMMModule",
    "PythonComputation",
    "SpreadError",
    "SpreadReporter",
    "backend_of",
    "create_force",
]

KEPT = ("metadata", "periodic")
Backend = Literal["auto", "torchforce", "pythonforce"]

logger = logging.getLogger(__name__)

with suppress(ImportError):
    load_torch_force()  # so that a TorchForce can be read from XML
if find_library() is not None:
    load_operators()  # and what is in it


class OpenMMModule(nn.Module):
    """Energy and forces of particles in OpenMM's units; what a TorchForce runs.

    Parameters
    ----------
    model
        The deployed model.
    numbers
        Atomic numbers (n,) of the particles that the model describes.
    atoms
        Their indices among all particles (n,).
    periodic
        Whether box vectors are given and used.
    """

    def __init__(
        self, model: DeployedModel, numbers: Sequence[int], atoms: Sequence[int], periodic: bool
    ) -> None:
        super().__init__()
        self.metadata = model.core.metadata
        self.core = model.core
        self.periodic = periodic
        device = model.device
        self.numbers = nn.Buffer(torch.as_tensor(numbers, dtype=torch.int64, device=device))
        indices = torch.as_tensor(atoms, dtype=torch.int64, device=device)
        self.edges: Any = edges_for(model, indices)

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
        return energy, forces


class PythonComputation:
    """The function of a PythonForce; pickles into a System's XML with the model inside it.

    Parameters
    ----------
    module
        A scripted :class:`OpenMMModule`.
    device
        Where it runs.
    """

    def __init__(self, module: torch.jit.ScriptModule, device: torch.device) -> None:
        self.content = to_bytes(module)
        self.device = str(device)
        self._prepare()

    def _prepare(self) -> None:
        self.module = from_bytes(self.content, self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {"content": self.content, "device": self.device}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.content, self.device = state["content"], state["device"]
        self._prepare()

    def __call__(self, state: State) -> tuple[float, NDArray[np.float64]]:
        """Return the energy in kJ/mol and the forces (N, 3) in kJ/mol/nm of a State."""
        inputs = [self._tensor(state.getPositions(asNumpy=True))]
        if self.module.periodic:
            inputs.append(self._tensor(state.getPeriodicBoxVectors(asNumpy=True)))
        with torch.no_grad():
            energy, forces = self.module(*inputs)
        return float(energy), forces.cpu().numpy()

    def _tensor(self, quantity: unit.Quantity) -> Tensor:
        values = np.asarray(quantity.value_in_unit(unit.nanometer))
        return torch.as_tensor(values, device=self.device)


def create_force(
    model: DeployedModel | str | Path,
    topology_or_numbers: app.Topology | Sequence[int],
    atoms: Sequence[int] | None = None,
    backend: Backend = "auto",
    periodic: bool | None = None,
    kernels: Kernels = "auto",
) -> Force:
    """Return an OpenMM force that runs a deployed model.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    topology_or_numbers
        All particles of the System: a topology, or one atomic number per particle.
    atoms
        Indices of the particles that the model describes, all by default. The others feel nothing
        of this force.
    backend
        ``"torchforce"`` runs in C++ and needs openmmtorch; ``"pythonforce"`` needs OpenMM alone;
        ``"auto"`` takes the first where it can be imported. A log line says which.
    periodic
        Whether the model sees periodic images. By default a topology with box vectors is
        periodic, plain numbers are not.
    kernels
        For a model that is given as a path, see :func:`idle_md.deploy.load`. A System with native
        operators in it can be read from XML only where they are built.

    Raises
    ------
    ValueError
        If the model is an explicit difference, does not know an element (names elements and
        particles), or an index is out of range or repeated.
    ImportError
        If ``backend="torchforce"`` and openmmtorch cannot be imported.
    """
    deployed = model if isinstance(model, DeployedModel) else load(model, kernels=kernels)
    deployed.check_complete()
    numbers, chosen = chosen_particles(topology_or_numbers, atoms)
    deployed.check_elements(numbers, chosen)
    if periodic is None:
        periodic = is_periodic(topology_or_numbers)
    module = flatten(OpenMMModule(deployed, numbers, chosen, periodic).eval(), KEPT)
    force = _force(module, deployed.device, backend)
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setName("idle_md")
    logger.info("OpenMM runs %s through %s", deployed.metadata.fidelity, backend_of(force))
    return force


def _force(module: torch.jit.ScriptModule, device: torch.device, backend: Backend) -> Any:
    if backend not in get_args(Backend):
        raise ValueError(f"unknown backend {backend!r}: there are {', '.join(get_args(Backend))}")
    if backend != "pythonforce":
        try:
            force = load_torch_force()(module)
            force.setOutputsForces(True)
            return force
        except ImportError as error:
            if backend == "torchforce":
                raise ImportError(
                    f"backend 'torchforce' cannot be used: {error}; install the versions of "
                    "constraints/torchforce.txt, or use 'pythonforce'"
                ) from error
            logger.info("TorchForce cannot be used: %s", error)
    return PythonForce(PythonComputation(module, device))


def backend_of(force: Force) -> Literal["torchforce", "pythonforce"]:
    """Return which backend a force of :func:`create_force` uses."""
    return "pythonforce" if isinstance(force, PythonForce) else "torchforce"
