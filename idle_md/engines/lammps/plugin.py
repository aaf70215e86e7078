"""Where the plugin for LAMMPS is; light, because LAMMPS imports it at every start."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from idle_md.engines.lammps.mpi import load_mpi
from idle_md.native.places import PLUGIN, find_built, folders

VARIABLE = "LAMMPS_PLUGIN_PATH"
"""Environment variable of LAMMPS with the folders whose plugins it loads."""
REMEDY = "`idle-md build-plugins --lammps` compiles it"


def plugin_folder() -> str:
    """Return the folder that the plugin for this torch was built to; never raises.

    This is the entry point ``idle_md`` of the group ``lammps.plugins``, which LAMMPS' Python module
    calls before it loads LAMMPS: MPI is brought into the process. The folder need not exist.
    """
    with suppress(Exception):  # LAMMPS says itself what it lacks
        load_mpi()
    return _folder()


def _folder() -> str:
    try:
        built = find_built(PLUGIN)
        return str(folders()[0] if built is None else built.parent)
    except Exception:  # LAMMPS without this plugin is better than no LAMMPS
        return str(Path(sys.prefix) / "lib" / "idle_md")


def find_plugin() -> Path | None:
    """Return the plugin that LAMMPS is to load, or None where it is not built."""
    given = [Path(each) for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each]
    places = [each / PLUGIN for each in (*given, Path(_folder()))]
    return next((place for place in places if place.is_file()), None)
