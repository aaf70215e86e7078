"""NNPOps' search for neighbours: found and loaded."""

import os
from importlib.util import find_spec
from pathlib import Path

import torch

from idle_md.native.places import NNPOPS, find_built

VARIABLE = "IDLE_MD_NNPOPS"
"""Environment variable with the path of a library, before all places that are searched."""
REMEDY = (
    "`git clone https://github.com/openmm/NNPOps` and `idle-md build-plugins --nnpops --source "
    "NNPOps` build it, `conda install -c conda-forge nnpops` brings it with conda's torch"
)


def find_nnpops() -> Path | None:
    """Return the library with NNPOps' neighbour search, or None where there is none.

    That which ``idle-md build-plugins --nnpops`` made for this torch, or else that of an installed
    package, which is not imported: it would want torchani.
    """
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    built = find_built(NNPOPS)
    if built is not None:
        return built
    package = find_spec("NNPOps")
    folders = [] if package is None else package.submodule_search_locations or []
    candidates = [Path(folder) / "libNNPOpsPyTorch.so" for folder in folders]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def load_nnpops() -> None:
    """Load ``torch.ops.neighbors.getNeighborPairs`` unless it is there, as after `import NNPOps`.

    Raises
    ------
    ImportError
        If there is none, or it cannot be loaded; the message says how to get it.
    """
    if _is_loaded():
        return
    library = find_nnpops()
    if library is None:
        raise ImportError(f"NNPOps is not there: {REMEDY}")
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        raise ImportError(f"{library} cannot be loaded ({error}): {REMEDY}") from error


def _is_loaded() -> bool:
    return hasattr(torch.ops.neighbors, "getNeighborPairs")
