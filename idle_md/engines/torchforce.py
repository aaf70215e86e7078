"""Loading of openmmtorch, which depends on the order in which things are loaded."""

import logging
import re
from contextlib import suppress
from typing import Any

import torch
from openmm import OpenMMException, Platform


def load_torch_force() -> Any:
    """Return the class ``TorchForce``, with the platforms' plugins for it loaded.

    Raises
    ------
    ImportError
        If openmmtorch is not there, or does not fit torch and OpenMM; says which.
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
    return openmmtorch.TorchForce


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
