"""OpenMM's platform CUDA: whether it is here, and whether it runs TorchForces."""

import importlib.metadata

import torch
from openmm import Platform

from idle_md.engines.openmm.backends import why_not
from idle_md.engines.openmm.openmmtorch import load_openmmtorch

NAME = "CUDA"


def why_no_platform() -> str | None:
    """Return why OpenMM has no platform CUDA here, in one line; None if it has."""
    misfit = _misfit()
    if misfit is not None:
        return misfit
    if NAME in {Platform.getPlatform(n).getName() for n in range(Platform.getNumPlatforms())}:
        return None
    for failure in Platform.getPluginLoadFailures():
        library, _, reason = failure.partition(".so: ")
        if library.endswith("libOpenMMCUDA"):
            return f"OpenMM's platform CUDA cannot be loaded: {reason}"
    return f"OpenMM's platform CUDA is not installed: {_remedy()}"


def why_no_torch_force() -> str | None:
    """Return why no TorchForce runs on OpenMM's platform CUDA, in one line; None if it does."""
    problem = why_no_platform() or why_not("torchforce")
    if problem is not None:
        return problem
    load_openmmtorch()
    if Platform.getPlatformByName(NAME).supportsKernels(["CalcTorchForce"]):
        return None
    return f"openmmtorch's plug-in for OpenMM's platform CUDA is not there: {_remedy()}"


def _remedy() -> str:
    """Return the command that installs what there is for the CUDA of this torch."""
    extra = "cuda" + (torch.version.cuda or "13").partition(".")[0]
    openmm = f"'openmm[{extra}]=={Platform.getOpenMMVersion()}'"
    return f"pip install {openmm} 'openmmtorch[{extra}]'"


def _misfit() -> str | None:
    """Return which package of the platform was made for another OpenMM, or None."""
    openmm = Platform.getOpenMMVersion()
    for name in ("OpenMM-CUDA-12", "OpenMM-CUDA-13"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if version.partition(".post")[0] != openmm:
            return f"{name} {version} does not fit OpenMM {openmm}: {_remedy()}"
    return None
