"""Processes that take turns, and the environments of those that need one of their own.

The parent's side of :mod:`peers.rounds`, shared by the benchmarks that compare with other packages.
"""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parent


class ContestantError(RuntimeError):
    """A contestant that cannot be installed, or that ended before its time; says why."""


class Contestant:
    """A process that works in rounds.

    Parameters
    ----------
    command
        What to start.
    threads
        CPU threads it may use.
    variables
        Environment variables besides.

    Raises
    ------
    ContestantError
        If it ends before it has answered.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        threads: int,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        own = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(PEERS.parent)}
        quiet = {"PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"}
        environment = {**os.environ, **quiet, **own, **(variables or {})}
        pipe = subprocess.PIPE
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self.errors, text=True, env=environment
        )
        self.about = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = next((said for said in self.process.stdout if said.startswith("{")), None)
        if line is None:  # what packages say while they are imported is no answer
            status = self.process.wait()
            self.errors.seek(0)
            raise ContestantError(last_line(self.errors.read()) or f"ended with status {status}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, steps: int) -> dict[str, Any]:
        """Return how long some steps took.

        Raises
        ------
        ContestantError
            If it ends instead.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def peer_python(peer: str, folder: Path) -> Path:
    """Set a peer's environment up, unless that is done, and return its Python.

    ``peers/PEER.txt`` names what it needs; ``peers/PEER.no-deps.txt``, where there is one, what is
    installed after that without its dependencies.

    Raises
    ------
    ContestantError
        If a package cannot be installed.
    """
    python, done = folder / "bin" / "python", folder / "installed.txt"
    lists = [PEERS / f"{peer}.txt", PEERS / f"{peer}.no-deps.txt"]
    wanted = "".join(part.read_text() for part in lists if part.is_file())
    if not done.is_file() or done.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        for part, options in zip(lists, ([], ["--no-deps"]), strict=True):
            if part.is_file():
                _install([python, "-m", "pip", "install", *options, "-r", part])
        done.write_text(wanted)
    return python


def _install(command: Sequence[str | Path]) -> None:
    quiet = ["--quiet", "--disable-pip-version-check"]
    found = subprocess.run([*command, *quiet], stderr=subprocess.PIPE, text=True)
    if found.returncode:
        errors = [line for line in found.stderr.splitlines() if line.startswith("ERROR")]
        raise ContestantError(errors[0] if errors else last_line(found.stderr))


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def processor() -> str:
    """Return the processor's name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
