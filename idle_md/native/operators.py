"""Native operators: loaded, once."""

import logging
from functools import lru_cache

import torch

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
    return True
