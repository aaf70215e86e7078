"""Native operators: loaded, once."""

import logging
from functools import lru_cache

import torch

from idle_md.devices import why_no_gpu
from idle_md.native.places import REMEDY, find_library

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def load_operators() -> bool:
    """Load ``torch.ops.idle_md``, once; return whether it is there, and warn if it is not."""
    library = find_library()
    if library is None:
        logger.warning("native operators are not built, models run slower: %s", REMEDY)
        return False
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        logger.warning("the native operators in %s cannot be loaded: %s", library, error)
        return False
    if not hasattr(torch.classes.idle_md.NeighborList(1.0, 0.0), "make_room"):
        logger.warning("the native operators in %s are of an earlier version: %s", library, REMEDY)
        return False
    return True


def why_no_cuda() -> str | None:
    """Return why the native operators cannot run on a GPU here, or None if they can.

    They need no CUDA toolkit: the kernels are compiled for the GPU at hand when they are first
    wanted, by NVRTC, which torch's packages for CUDA bring, and kept in the user's cache.
    """
    if not load_operators():
        return f"they are not built: {REMEDY}"
    missing = why_no_gpu()
    if missing is not None:
        return missing
    problem: str = torch.ops.idle_md.cuda_problem()
    return problem or None
