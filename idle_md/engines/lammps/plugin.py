"""Where the plugin for LAMMPS is; light, because LAMMPS imports it at every start."""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

PLUGIN = "idleplugin.so"
VARIABLE = "LAMMPS_PLUGIN_PATH"
"""Environment variable of LAMMPS with the folders whose plugins it loads."""
REMEDY = "`idle-md build-plugins --lammps` compiles it"


def plugin_folder() -> str:
    """Return the folder that the plugin for this torch was built to; never raises.

    This is the entry point ``idle_md`` of the group ``lammps.plugins``. The folder need not exist.
    """
    try:
        folders = _folders(_torch_version())
        return str(next((each for each in folders if (each / PLUGIN).is_file()), folders[0]))
    except Exception:  # LAMMPS without this plugin is better than no LAMMPS
        return str(Path(sys.prefix) / "lib" / "idle_md")


def find_plugin() -> Path | None:
    """Return the plugin that LAMMPS is to load, or None where it is not built."""
    given = [Path(each) for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each]
    folders = [*given, Path(plugin_folder())]
    return next((each / PLUGIN for each in folders if (each / PLUGIN).is_file()), None)


def _folders(torch_version: str) -> list[Path]:
    """Return the folders of :func:`idle_md.native.places.places`, without importing torch."""
    name = f"torch-{torch_version.replace('+', '-')}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [Path(sys.prefix) / "lib" / "idle_md" / name, cache / "idle_md" / name]


def _torch_version() -> str:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torch is not installed")
    text = Path(spec.origin).with_name("version.py").read_text()
    found = re.search(r"^__version__\s*=\s*['\"](.+?)['\"]", text, re.MULTILINE)
    if found is None:
        raise ValueError("torch does not name its version")
    return found[1]
