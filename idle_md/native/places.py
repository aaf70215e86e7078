"""Where compiled code is looked for, and built to."""

import os
import sys
from pathlib import Path

import torch

LIBRARY = "libidle_md_ops.so"
VARIABLE = "IDLE_MD_OPS"
"""Environment variable with the path of a library, before all places that are searched."""
REMEDY = "`idle-md build-plugins` compiles them"


def places() -> list[Path]:
    """Return where the library for this torch is looked for, and built to: the first that can be.

    The environment that Python runs in, then the user's cache.
    """
    name = f"torch-{torch.__version__.replace('+', '-')}"
    return [
        Path(sys.prefix) / "lib" / "idle_md" / name / LIBRARY,
        cache_folder() / name / LIBRARY,
    ]


def cache_folder() -> Path:
    """Return the user's cache of this package; it need not be there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "idle_md"


def find_library() -> Path | None:
    """Return the library of operators, or None where there is none for this torch."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    return next((place for place in places() if place.is_file()), None)
