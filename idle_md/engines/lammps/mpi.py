"""Where MPI is; light, because LAMMPS imports it at every start."""

import ctypes
import importlib.metadata
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

NAME = "libmpi.so.12"


def mpi_library() -> Path | None:
    """Return MPICH's library from the package index; it stands in no folder that is searched."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())).resolve() for file in files if file.name == NAME)
    return next(found, None)


@lru_cache(maxsize=1)
def load_mpi() -> None:
    """Bring MPI into this process, where LAMMPS' library looks for it.

    One that is loaded already, or stands where libraries are searched, comes first.
    """
    with suppress(OSError):
        ctypes.CDLL(NAME, mode=ctypes.RTLD_GLOBAL)
        return
    library = mpi_library()
    if library is not None:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
