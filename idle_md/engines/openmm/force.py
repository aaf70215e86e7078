"""Deployed models as OpenMM forces.

Importing this module also registers what the forces are made of, so import it before reading a
System that holds one of them from XML.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from openmm import CustomCVForce, Force, PythonForce, State, app, unit
from torch import Tensor, nn

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.torchscript import flatten, from_bytes, to_bytes
from idle_md.engines.choices import Backend
from idle_md.engines.edges.choice import Neighbors, edges_for
from idle_md.engines.openmm.backends import choose, force_class, why_not
from idle_md.engines.openmm.particles import chosen_particles, is_periodic
from idle_md.native.choice import Kernels
from idle_md.native.nnpops import find_nnpops, load_nnpops
from idle_md.native.operators import load_operators
from idle_md.native.places import find_library
from idle_md.units import KJ_PER_MOL

__all__ = [
    "Backend",
    "Neighbors",
    "OpenMMModule",
    "PythonComputation",
    "backend_of",
    "create_force",
]

Energy = Literal["total", "interaction"]
KEPT = ("metadata", "periodic")
PICKLED_AS = "idle_md.engines.openmm"
"""Where a System's XML looks for the classes that are pickled into it, wherever they stand."""
SCALED = "model"
"""Name of the collective variable that a scaled force multiplies."""

logger = logging.getLogger(__name__)

if why_not("torchforce") is None:
    force_class("torchforce")  # so that a TorchForce can be read from XML
with suppress(ImportError):
    import vesin_torch  # type: ignore[import-untyped]  # noqa: F401
if find_library() is not None:  # and what is in it
    load_operators()
if find_nnpops() is not None:
    with suppress(ImportError):
        load_nnpops()


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

    def script(self, model: DeployedModel) -> torch.jit.ScriptModule:
        """Return what an engine runs."""
        module = OpenMMModule(model, self)
        return flatten((_OnAnotherThread(module) if model.uses_autograd else module).eval(), KEPT)


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


class _OnAnotherThread(nn.Module):
    """A module that differentiates by autograd, run by another thread than the one that calls it.

    Autograd refuses threads that hold Python's lock, as OpenMM's minimiser does where it has a
    reporter. All of it runs there: what follows a wait in TorchScript may go on in the other
    thread, and so would not give the caller back the gradient mode that it had.

    Parameters
    ----------
    module
        What runs.
    """

    def __init__(self, module: OpenMMModule) -> None:
        super().__init__()
        self.module = module
        self.metadata, self.periodic = module.metadata, module.periodic

    def forward(self, positions: Tensor, box: Tensor | None = None) -> tuple[Tensor, Tensor]:
        running = torch.jit.fork(self.module, positions, box)
        energy, forces = torch.jit.wait(running)
        return energy, forces


class PythonComputation:
    """The function of a PythonForce; pickles into a System's XML with the model inside it.

    What is in a pickle becomes a module when it is first called: OpenMM crashes where an error is
    raised while it reads XML.

    Parameters
    ----------
    module
        A scripted :class:`OpenMMModule`.
    device
        Where it runs.
    """

    __module__ = PICKLED_AS

    def __init__(self, module: torch.jit.ScriptModule, device: torch.device) -> None:
        self.content = to_bytes(module)
        self.device = str(device)
        self.periodic: bool = module.periodic

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "module"}

    @cached_property
    def module(self) -> torch.jit.ScriptModule:
        """What is called."""
        return from_bytes(self.content, self.device)

    def __call__(self, state: State, positions: Tensor | None = None) -> tuple[Any, Any]:
        """Return the energy in kJ/mol and the forces (N, 3) in kJ/mol/nm of a State.

        As arrays, or as tensors where the positions (N, 3) in nm are given as one, which is what a
        PythonTorchForce does.
        """
        as_tensor = positions is not None
        if positions is None:
            positions = _tensor(state.getPositions(asNumpy=True))
        inputs = [positions.to(self.device)]
        if self.periodic:
            inputs.append(_tensor(state.getPeriodicBoxVectors(asNumpy=True)).to(self.device))
        energy, forces = self.module.forward(*inputs)
        if as_tensor:
            return energy, forces.to(positions.device)
        return energy.item(), forces.cpu().numpy()


def _tensor(quantity: unit.Quantity) -> Tensor:
    """Return what is in nm, as a State gives it: asking for the unit takes longer than the rest."""
    return torch.from_numpy(np.asarray(quantity._value))


class FileComputation(PythonComputation):
    """The same, but what pickles into the XML is the path of the model's file and its hash.

    Parameters
    ----------
    path
        The deployed model.
    model
        What was loaded from the path.
    attachment
        The particles.
    """

    __module__ = PICKLED_AS

    def __init__(self, path: Path, model: DeployedModel, attachment: Attachment) -> None:
        self.path, self.sha256 = str(path.resolve()), model.metadata.content_sha256
        self.device = str(model.device)
        self.kernels: Any = model.kernels
        self.attachment, self.periodic = attachment, attachment.periodic

    @cached_property
    def module(self) -> torch.jit.ScriptModule:
        """What is called."""
        model = load(self.path, device=self.device, kernels=self.kernels)
        if model.metadata.content_sha256 != self.sha256:
            raise ValueError(
                f"{self.path} is another model than the one that this System was written with: put "
                "that one back, or make the force anew"
            )
        return self.attachment.script(model)


def create_force(
    model: DeployedModel | str | Path,
    topology_or_numbers: app.Topology | Sequence[int],
    atoms: Sequence[int] | None = None,
    backend: Backend = "auto",
    periodic: bool | None = None,
    kernels: Kernels = "auto",
    neighbors: Neighbors = "auto",
    scale: str | None = None,
    embed: bool = True,
    energy: Energy = "total",
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
        ``"torchforce"`` runs in C++ and needs openmmtorch; ``"pythontorchforce"`` comes with newer
        openmmtorch; ``"pythonforce"`` needs OpenMM alone; ``"auto"`` takes the first that works.
        A log line says which and why.
    periodic
        Whether the model sees periodic images. By default a topology with box vectors is
        periodic, plain numbers are not.
    kernels
        For a model that is given as a path, see :func:`idle_md.deploy.load`. A System with native
        operators in it can be read from XML only where they are built.
    neighbors
        ``"native"``: this project's list with a skin, on the CPU. ``"vesin"``: anew every step.
        ``"torch"``: all pairs, for small open systems. ``"nnpops"``: NNPOps' operator, where its
        library is there. ``"auto"``: the fastest of the first three.
    scale
        Name of a global parameter, 1 by default, that the energy is multiplied by; the derivative
        by it is the model's energy, reference energies included, and can be had from the Context.
    embed
        False has a System's XML name the file of the model, which is checked to be the same when
        the XML is read, instead of holding the model. Backend ``"pythonforce"`` alone can do that.
    energy
        ``"total"``, or ``"interaction"`` without the reference energies of the atoms.

    Raises
    ------
    ValueError
        If the model is an explicit difference, does not know an element (names elements and
        particles), or an index is out of range or repeated; if ``neighbors`` does not fit the
        system; if ``embed=False`` is asked for without a path or of another backend.
    ImportError
        If a backend, or NNPOps, is asked for that does not work here.
    """
    deployed = load(model, kernels=kernels)
    deployed.check_complete()
    numbers, chosen = chosen_particles(topology_or_numbers, atoms)
    deployed.check_elements(numbers, chosen)
    if periodic is None:
        periodic = is_periodic(topology_or_numbers)
    if energy not in get_args(Energy):
        raise ValueError(f"unknown energy {energy!r}: there are {', '.join(get_args(Energy))}")
    attachment = Attachment(numbers, chosen, periodic, neighbors, energy)
    if embed:
        through = choose(backend, _why_not_torchforce(deployed))
        force = _force(attachment.script(deployed), deployed.device, through)
    elif isinstance(model, DeployedModel) or backend not in ("auto", "pythonforce"):
        raise ValueError("embed=False needs the path of a model, and backend 'pythonforce'")
    else:
        force = PythonForce(FileComputation(Path(model), deployed, attachment))
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setName("idle_md")
    logger.info("OpenMM runs %s through %s", deployed.metadata.fidelity, backend_of(force))
    return force if scale is None else _scaled(force, scale)


def _why_not_torchforce(model: DeployedModel) -> str | None:
    """Return why a model cannot run through a TorchForce, or None if it can.

    Autograd runs on a GPU in threads of its own, which wait for Python's lock when they start.
    """
    if model.uses_autograd and model.device.type != "cpu":
        return (
            "the model's backbone has no hand-derived reverse pass, and autograd on a GPU can "
            "wait forever for a minimiser with a reporter"
        )
    return None


def _force(module: torch.jit.ScriptModule, device: torch.device, backend: str) -> Any:
    if backend == "pythonforce":
        return PythonForce(PythonComputation(module, device))
    if backend == "pythontorchforce":
        return force_class(backend)(PythonComputation(module, device))
    force = force_class(backend)(module)
    force.setOutputsForces(True)
    return force


def _scaled(force: Force, parameter: str) -> CustomCVForce:
    scaled = CustomCVForce(f"{parameter}*{SCALED}")
    scaled.addGlobalParameter(parameter, 1.0)
    scaled.addCollectiveVariable(SCALED, force)
    scaled.addEnergyParameterDerivative(parameter)
    scaled.setName("idle_md")
    return scaled


def backend_of(force: Force) -> str:
    """Return which backend a force of :func:`create_force` uses."""
    if isinstance(force, CustomCVForce):
        return backend_of(force.getCollectiveVariable(0))
    name = type(force).__name__.lower()
    return "torchforce" if name == "force" else name  # OpenMM does not know the plug-in's class
