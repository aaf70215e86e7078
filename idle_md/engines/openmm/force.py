"""Deployed models as OpenMM forces.

Importing this module also registers what the forces are made of, so import it before reading a
System that holds one of them from XML.
"""

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import torch
from openmm import CustomCVForce, Force, PythonForce, app

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.gate import check_use
from idle_md.engines.choices import Backend
from idle_md.engines.edges.choice import Neighbors
from idle_md.engines.openmm.backends import (
    choose,
    force_class,
    why_no_torch_force,
    why_not,
)
from idle_md.engines.openmm.computation import FileComputation, PythonComputation
from idle_md.engines.openmm.module import Attachment, Energy
from idle_md.engines.openmm.part import check_topology, formal_charge
from idle_md.engines.openmm.particles import chosen_particles, is_periodic
from idle_md.models import model_path
from idle_md.native.choice import Kernels
from idle_md.native.nnpops import find_nnpops, load_nnpops
from idle_md.native.operators import load_operators
from idle_md.native.places import find_library
from idle_md.states import State

SCALED = "model"
"""Name of the collective variable that a scaled force multiplies."""

RESERVED = re.compile(rf"{SCALED}|\w*(MonteCarlo|Andersen)\w*")
"""What a scaled force, a barostat or a thermostat calls something else by."""

GRAPHS = "useCUDAGraphs"
"""Property of a TorchForce, which records CUDA graphs on OpenMM's platform CUDA."""

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
    device: str | torch.device = "cpu",
    relative: bool = False,
    charge: float | None = None,
    multiplicity: int | None = None,
) -> Force:
    """Return an OpenMM force that runs a deployed model.

    Parameters
    ----------
    model
        A deployed model, or the path or the name of one.
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
    device
        Where a model that is given as a path runs, see :func:`idle_md.deploy.load`. A TorchForce
        has positions where OpenMM's platform has them, so a model on a GPU needs the platform CUDA.
    relative
        Give energies relative to lone atoms, see :func:`idle_md.deploy.load`.
    charge, multiplicity
        Total charge in e and spin, 2S + 1, of what the model describes, which it is not given: they
        are compared with what it was trained on. By default the formal charges of a topology.

    Warns
    -----
    StateWarning
        If the model was not trained on this charge or spin, as far as is known.
    UserWarning
        If a topology says that the atoms are bonded to others that the model does not describe.

    Raises
    ------
    ValueError
        If the model is an explicit difference, does not know an element (names elements and
        particles), or an index is out of range or repeated; if there is no such device, or
        ``neighbors`` does not fit the system; if the box is flat or cannot hold the atoms; if
        ``scale`` is no identifier; if ``embed=False`` is asked for without a path or of
        another backend.
    ImportError
        If a backend, or NNPOps, is asked for that does not work here.
    """
    deployed = load(model, device, kernels=kernels, relative=relative)
    deployed.check_complete()
    numbers, chosen = chosen_particles(topology_or_numbers, atoms)
    if periodic is None:
        periodic = is_periodic(topology_or_numbers)
    if isinstance(topology_or_numbers, app.Topology):
        check_topology(topology_or_numbers, chosen, periodic)
        charge = formal_charge(topology_or_numbers, chosen) if charge is None else charge
    state, is_whole = State(charge, multiplicity), not periodic or atoms is not None
    check_use(deployed.metadata, numbers, chosen, state, is_whole=is_whole)
    if energy not in get_args(Energy):
        raise ValueError(f"unknown energy {energy!r}: there are {', '.join(get_args(Energy))}")
    attachment = Attachment(numbers, chosen, periodic, neighbors, energy)
    if embed:
        through = choose(backend, _why_not_torchforce(deployed))
        force = _force(attachment, deployed, through)
    elif isinstance(model, DeployedModel) or backend not in ("auto", "pythonforce"):
        raise ValueError("embed=False needs the path of a model, and backend 'pythonforce'")
    else:
        force = PythonForce(FileComputation(model_path(model), deployed, attachment))
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setName("idle_md")
    logger.info("OpenMM runs %s through %s", deployed.metadata.fidelity, backend_of(force))
    return force if scale is None else _scaled(force, scale)


def _why_not_torchforce(model: DeployedModel) -> str | None:
    """Return why a model cannot run through a TorchForce, or None if it can.

    Autograd runs on a GPU in threads of its own, which wait for Python's lock when they start.
    """
    if model.device.type == "cpu":
        return None
    if model.uses_autograd:
        return (
            "the model's backbone has no hand-derived reverse pass, and autograd on a GPU can "
            "wait forever for a minimiser with a reporter"
        )
    return why_no_torch_force()


def _force(attachment: Attachment, model: DeployedModel, backend: str) -> Any:
    if backend != "torchforce":
        module = attachment.script(model)
        computation = PythonComputation(module, model.device, model.can_be_replayed)
        return (PythonForce if backend == "pythonforce" else force_class(backend))(computation)
    waits = attachment.neighbors == "vesin"  # for the GPU, in every search
    with_graphs = model.can_be_replayed and not waits
    force = force_class(backend)(attachment.script(model, in_one_place=with_graphs))
    force.setOutputsForces(True)
    if with_graphs and GRAPHS in force.getProperties():
        force.setProperty(GRAPHS, "true")
    return force


def _scaled(force: Force, parameter: str) -> CustomCVForce:
    if not re.fullmatch(r"[A-Za-z_]\w*", parameter, re.ASCII) or RESERVED.fullmatch(parameter):
        raise ValueError(
            f"scale {parameter!r} cannot be the name of a parameter: take letters, digits and "
            f"underscores, such as 'lambda_ml', and not {SCALED!r} or what a barostat or a "
            "thermostat has"
        )
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
