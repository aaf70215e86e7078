"""Whatever is typed, and whenever it is stopped: no traceback, and no file that is half written.

Some lines work for long. They are stopped as by Ctrl-C.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from idle_md.cli import main as cli
from idle_md.cli.shared.verb import ExitCode
from idle_md.nn import save_checkpoint
from tests.cli.command_lines import command_line, make_files
from tests.cli.test_verbs import VERBS, parameters

SECONDS = 2.0
FEW, MANY = 12, 280
LONG = {"quickstart", "build-plugins"}  # they have work to do without being given anything
every_verb = pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in LONG])


@pytest.fixture(scope="module", autouse=True)
def heavy_packages() -> None:
    """Import beforehand what must not be stopped while it is imported."""
    import idle_md.campaign
    import idle_md.engines.frequencies
    import idle_md.engines.openmm.benchmark
    import idle_md.engines.parity.check
    import idle_md.report
    import idle_md.train  # noqa: F401


@pytest.fixture(scope="module")
def box(tmp_path_factory, model_file, make_potential) -> Path:
    folder = tmp_path_factory.mktemp("box")
    save_checkpoint(folder / "made.ckpt", make_potential(), {"target": "high", "levels": {}})
    make_files(folder, model_file(fidelities=("low", "high")), folder / "made.ckpt")
    return folder


@pytest.fixture
def alarm() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not cli.main.__code__:
            frame = frame.f_back
        if frame is not None:  # else the command has ended just now
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


def code_of(words: list[str], monkeypatch) -> int:
    """Return the exit code of the command, run as a user runs it."""
    monkeypatch.setattr(sys, "argv", ["idle-md", *words])
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return int(ended.value.code or 0)


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def check_lines(verb: str, count: int, box: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    folder = tmp_path / "box"
    for seed in range(count):
        if not folder.exists():
            shutil.copytree(box, folder)
        monkeypatch.chdir(folder)
        before = state(folder)
        files = sorted(path.name for path in folder.iterdir())
        words = command_line(verb, parameters(verb), files, seed)
        code = code_of(words, monkeypatch)
        told, after = capfd.readouterr().err, state(folder)
        case = f"seed {seed}: {words} gave {code} and said {told[-1000:]!r}"
        written = {path for path in after if before.get(path) != after[path]}
        assert code in set(ExitCode), case
        assert "--debug" in words or "Traceback" not in told, case
        assert not before.keys() - after.keys(), case
        assert not [p for p in written if p.name.startswith(".") or not after[p][0]], case
        if code in (ExitCode.BAD_INPUT, ExitCode.BAD_USAGE):
            assert not written, case
        if code == ExitCode.BAD_INPUT:
            lines = told.strip().splitlines()
            assert lines[-1].startswith("error: "), case
            assert len(lines[-1]) > len("error: ") + 5, case
        if written or any(p.is_dir() and p.name not in files for p in folder.iterdir()):
            monkeypatch.chdir(tmp_path)
            shutil.rmtree(folder)


@every_verb
@pytest.mark.usefixtures("alarm")
def test_hostile_lines(verb, box, tmp_path, monkeypatch, capfd) -> None:
    check_lines(verb, FEW, box, tmp_path, monkeypatch, capfd)


@pytest.mark.slow
@every_verb
@pytest.mark.usefixtures("alarm")
def test_thousands_of_hostile_lines(verb, box, tmp_path, monkeypatch, capfd) -> None:
    check_lines(verb, MANY, box, tmp_path, monkeypatch, capfd)
