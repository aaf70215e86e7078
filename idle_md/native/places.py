"""Where compiled code is looked for, and built to; light, because LAMMPS asks at every start."""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

LIBRARY = "libidle_md_ops.so"
"""The native operators."""
PLUGIN = "idleplugin.so"
"""The plugin for LAMMPS."""
NNPOPS = "libNNPOpsNeighbors.so"
"""NNPOps' search for neighbours."""
VARIABLE = "IDLE_MD_OPS"
"""Environment variable with the path of a library, before all places that are searched."""
REMEDY = "`idle-md build-plugins` compiles them"


def folders() -> list[Path]:
    """Return where what is compiled for this torch is looked for, and built to: the first that can.

    They are in the environment that Python runs in and in the user's cache. Torch is not imported.

    Raises
    ------
    ModuleNotFoundError
        If torch is not installed.
    ValueError
        If its version is not where torch writes it.
    """
    name = f"torch-{_torch_version().replace('+', '-')}"
    return [Path(sys.prefix) / "lib" / "idle_md" / name, cache_folder() / name]


def cache_folder() -> Path:
    """Return the user's cache of this package; it need not be there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "idle_md"


def find_built(name: str) -> Path | None:
    """Return a file that was compiled for this torch, or None where there is none."""
    return next((each / name for each in folders() if (each / name).is_file()), None)


def find_library() -> Path | None:
    """Return the library of operators, or None where there is none for this torch."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    return find_built(LIBRARY)


def _torch_version() -> str:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torch is not installed")
    text = Path(spec.origin).with_name("version.py").read_text()
    found = re.search(r"^__version__\s*=\s*['\"](.+?)['\"]", text, re.MULTILINE)
    if found is None:
        raise ValueError("torch does not name its version")
    return found[1]
