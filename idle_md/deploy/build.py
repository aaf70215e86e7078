"""Compiling the native operators against the torch that is installed."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from idle_md.deploy.native import LIBRARY, places
from idle_md.files import replacing

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
    cmake, source = _cmake(), _source()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idle_md-")))
        interpreter = f"-DPython_EXECUTABLE={sys.executable}"
        _run(cmake, "-S", source, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", interpreter)
        _run(cmake, "--build", folder, "--parallel", os.cpu_count() or 1)
        return _install(folder / LIBRARY)


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
    for place in places():
        try:
            with replacing(place) as temporary:
                shutil.copyfile(library, temporary)
        except OSError as error:
            problems.append(f"{place}: {error.strerror or error}")
        else:
            return place
    raise OSError(f"the library can be written nowhere: {'; '.join(problems)}")
