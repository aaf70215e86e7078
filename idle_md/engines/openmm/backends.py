"""The ways by which OpenMM can call a model, and which of them work here."""

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from openmm import Platform

from idle_md.engines.choices import Backend
from idle_md.engines.openmm.openmmtorch import load_openmmtorch
from idle_md.files import replacing
from idle_md.native.places import cache_folder

CLASSES = {"torchforce": "TorchForce", "pythontorchforce": "PythonTorchForce"}
"""What openmmtorch calls them; PythonForce is OpenMM's own."""
CUDA = "CUDA"
"""OpenMM's platform for NVIDIA's GPUs."""
REMEDY = "install the versions of constraints/torchforce.txt, or use 'pythonforce'"
SECONDS = 300.0
TOO_LONG = f"an evaluation took more than {SECONDS:g} s"

logger = logging.getLogger(__name__)


def choose(
    backend: Backend, why_not_torchforce: str | None = None
) -> Literal["torchforce", "pythontorchforce", "pythonforce"]:
    """Return the backend to use: for ``"auto"`` the first that works, and a log line says why.

    Parameters
    ----------
    backend
        What is asked for.
    why_not_torchforce
        Why the model cannot run through a TorchForce; None if it can.

    Raises
    ------
    ValueError
        If there is no such backend, or the model cannot run through it.
    ImportError
        If it does not work here.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"unknown backend {backend!r}: there are {', '.join(get_args(Backend))}")
    if backend == "pythonforce":
        return backend
    if backend != "auto":
        if backend == "torchforce" and why_not_torchforce is not None:
            raise ValueError(f"backend 'torchforce': {why_not_torchforce}; use 'pythonforce'")
        problem = why_not(backend)
        if problem is not None:
            raise ImportError(f"backend {backend!r} cannot be used: {problem}; {REMEDY}")
        return backend
    for each in ("torchforce", "pythontorchforce"):
        problem = (why_not_torchforce if each == "torchforce" else None) or why_not(each)
        if problem is None:
            return each
        logger.info("%s cannot be used: %s", CLASSES[each], problem)
    return "pythonforce"


def force_class(backend: str) -> Any:
    """Return the class of openmmtorch that a working backend uses."""
    return getattr(load_openmmtorch(), CLASSES[backend])


def why_not(backend: str) -> str | None:
    """Return why openmmtorch's class for a backend cannot be used here, or None if it can.

    A library that was compiled against another torch can crash a process, so a process of its own
    tries it, once per installation: the answer is kept in the user's cache.
    """
    found = importlib.util.find_spec("openmmtorch")
    if found is None or found.origin is None:
        return f"openmmtorch is not installed beside {versions()}"
    answer = _probed(found.origin, str(Path(found.origin).stat().st_mtime_ns), versions())
    return answer[backend]


def versions() -> str:
    """Return what openmmtorch has to fit."""
    return f"torch {torch.__version__}, OpenMM {Platform.getOpenMMVersion()}"


def why_no_platform() -> str | None:
    """Return why OpenMM has no platform CUDA here, in one line; None if it has."""
    misfit = _misfit()
    if misfit is not None:
        return misfit
    if CUDA in {Platform.getPlatform(n).getName() for n in range(Platform.getNumPlatforms())}:
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
    if Platform.getPlatformByName(CUDA).supportsKernels(["CalcTorchForce"]):
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


@lru_cache
def _probed(*installation: str) -> dict[str, str | None]:
    key = hashlib.sha256(json.dumps([sys.prefix, *installation]).encode()).hexdigest()[:16]
    file = cache_folder() / f"openmmtorch-{key}.json"
    try:
        known: dict[str, str | None] = json.loads(file.read_text())
    except (OSError, ValueError):
        known = {backend: _probe(backend) for backend in CLASSES}
        if TOO_LONG in known.values():  # a busy machine is no property of the installation
            return known
        try:
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(known, indent=2))
        except OSError as error:
            logger.debug("%s cannot be written: %s", file, error)
    return known


ATTEMPT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("attempt", sys.argv[1])
module = sys.modules["attempt"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.attempt(sys.argv[2])
"""
"""Imports a file without its package, which would ask :func:`why_not` in turn, without an end."""


def _probe(backend: str) -> str | None:
    file = Path(__file__).with_name("openmmtorch.py")
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-W", "ignore", "-c", ATTEMPT, str(file), CLASSES[backend]]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired:
        return TOO_LONG
    if done.returncode < 0:
        return f"openmmtorch crashes beside {versions()} (signal {-done.returncode})"
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else lines[-1] if lines else "it ended without a message"
