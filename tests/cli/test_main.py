"""The `idle-md` command as a user meets it: quick help, and errors that are one line."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from idle_md.cli import main as cli

VERBS = (
    "sample",
    "label",
    "potential",
    "train",
    "adapt",
    "evaluate",
    "report",
    "export",
    "info",
    "check",
    "md",
    "quickstart",
    "data",
)


def run_idle_md(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "idle_md", *arguments]
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_help_lists_every_verb() -> None:
    result = run_idle_md("--help")
    assert result.returncode == 0
    words = result.stdout.split()
    assert [verb for verb in VERBS if verb not in words] == []


@pytest.mark.parametrize(
    "heavy", ["torch", "openmm", "lightning", "ase", "h5py", "matplotlib", "pydantic"]
)
def test_command_line_is_built_without_heavy_packages(heavy: str) -> None:
    code = f"import sys, idle_md.cli.main; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_version_is_that_of_the_distribution() -> None:
    assert run_idle_md("--version").stdout.strip() == f"idle-md {version('idle-md')}"


def test_unknown_verb_is_a_usage_error() -> None:
    result = run_idle_md("trian")
    assert result.returncode == 2
    assert "trian" in result.stderr


def test_missing_file_is_one_line_that_names_it(tmp_path) -> None:
    result = run_idle_md("data", "info", str(tmp_path / "absent.h5"))
    assert result.returncode == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "absent.h5" in line


def app_raising(error: Exception) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            ValueError("config.yaml:\n  key 'lerning_rate' [red]?"),
            "config.yaml: key 'lerning_rate' [red]?",
        ),
        (ValueError("long " * 60 + "end"), "long " * 60 + "end"),
        (PermissionError(13, "Permission denied", "runs"), "runs: Permission denied"),
        (FileNotFoundError("model.pt does not exist"), "model.pt does not exist"),
    ],
)
def test_bad_input_is_one_line_on_stderr(error, line, monkeypatch, capsys) -> None:
    monkeypatch.setattr(cli, "app", app_raising(error))
    monkeypatch.setattr(sys, "argv", ["idle-md"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {line}\n"


def test_a_bug_keeps_its_traceback(monkeypatch) -> None:
    monkeypatch.setattr(cli, "app", app_raising(RuntimeError("a bug")))
    monkeypatch.setattr(sys, "argv", ["idle-md"])
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main()


def test_warnings_are_one_line(tmp_path: Path) -> None:
    frame = "1\nlow_energy=-1.0 role={} molecule=neon\nNe 0 0 0\n"
    names = []
    for role in ("test", "train"):
        names.append(str(tmp_path / f"{role}.xyz"))
        Path(names[-1]).write_text(frame.format(role))
    result = run_idle_md("data", "join", *names, "-o", str(tmp_path / "both.h5"))
    assert result.returncode == 0
    assert result.stderr.startswith("warning: 1 geometries have the role train")
    assert result.stderr.count("\n") == 1
