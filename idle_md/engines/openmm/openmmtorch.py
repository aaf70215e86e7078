"""Loading of openmmtorch, which depends on the order in which things are loaded."""

import logging
import re
from contextlib import suppress
from types import ModuleType

import openmm
import torch
from openmm import OpenMMException, Platform

from idle_md.deploy.torchscript import script


def load_openmmtorch() -> ModuleType:
    """Return openmmtorch, with the platforms' plugins for it loaded.

    Raises
    ------
    ImportError
        If it is not there, or does not fit torch and OpenMM; says which.
    """
    loaded = f"torch {torch.__version__}, OpenMM {Platform.getOpenMMVersion()}"
    logging.disable(logging.WARNING)  # it imports a deprecated name of OpenMM, which warns
    try:
        import openmmtorch
    except (ImportError, OSError) as error:
        raise ImportError(f"openmmtorch cannot be imported beside {loaded}: {error}") from error
    finally:
        logging.disable(logging.NOTSET)
    _load_failed_plugins()
    if not any(_runs_torch_force(index) for index in range(Platform.getNumPlatforms())):
        raise ImportError(f"openmmtorch brings no platform plugin that loads beside {loaded}")
    return openmmtorch  # type: ignore[no-any-return]


def attempt(name: str) -> None:
    """Evaluate something small with one of openmmtorch's classes.

    Raises
    ------
    Exception
        Whatever goes wrong.
    """
    module = load_openmmtorch()
    if not hasattr(module, name):
        raise ImportError(f"this openmmtorch has no {name}")
    force = getattr(module, name)(_returning if name.startswith("Python") else script(_Sum()))
    if not name.startswith("Python"):
        force.setOutputsForces(True)
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(force)
    platform = Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions([[1.0, 2.0, 3.0]])
    energy = context.getState(energy=True, forces=True).getPotentialEnergy()._value
    if energy != 6.0:
        raise RuntimeError(f"{name} gives {energy} instead of 6")


class _Sum(torch.nn.Module):
    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return positions.sum(), -torch.ones_like(positions)


def _returning(state: openmm.State, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return positions.sum(), -torch.ones_like(positions)


def _runs_torch_force(platform: int) -> bool:
    return bool(Platform.getPlatform(platform).supportsKernels(["CalcTorchForce"]))


def _load_failed_plugins() -> None:
    """Load plugins that failed because OpenMM was imported before torch."""
    if _runs_torch_force(0):
        return
    for failure in Platform.getPluginLoadFailures():
        for library in re.findall(r"(\S*OpenMMTorch\S*?\.so):", failure):
            with suppress(OpenMMException):  # those of platforms that are not there
                Platform.loadPluginLibrary(library)
