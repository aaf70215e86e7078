"""Building the operators, and what the doctor says of them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.engines import doctor
from idle_md.native import build


def test_without_cmake_the_remedy_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(build.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install cmake"):
        build.build_operators(tmp_path)


def test_failed_compilation_says_why_and_leaves_nothing(monkeypatch, tmp_path) -> None:
    cmake = tmp_path / "cmake"
    cmake.write_text("#!/bin/sh\necho no such compiler\nexit 1\n")
    cmake.chmod(0o755)
    place = tmp_path / "place" / "library.so"
    monkeypatch.setattr(build, "_cmake", lambda: str(cmake))
    monkeypatch.setattr(build, "folders", lambda: [place.parent])
    with pytest.raises(OSError, match="no such compiler"):
        build.build_operators(tmp_path / "build")
    assert not place.parent.exists()


def test_library_goes_to_the_first_place_that_can_be_written(monkeypatch, tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    folders = [blocked, tmp_path / "cache"]
    monkeypatch.setattr(build, "folders", lambda: folders)
    made = tmp_path / "made.so"
    made.write_bytes(b"machine code")
    place = build._install(made)
    assert place == tmp_path / "cache" / "made.so"
    assert place.read_bytes() == b"machine code"
    monkeypatch.setattr(build, "folders", lambda: folders[:1])
    with pytest.raises(OSError, match="written nowhere"):
        build._install(made)


@pytest.mark.usefixtures("ops")
def test_doctor_finds_what_is_built() -> None:
    findings = {finding.what: finding for finding in doctor.examine()}
    operators = findings["native operators"]
    assert operators.state == "ok"
    assert Path(operators.detail.split(",")[0]).is_file()
    assert "native operators" in CliRunner().invoke(app, ["doctor"]).output


def test_doctor_prints_extras_in_their_brackets(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("A", "missing", "b", "c[d]")])
    assert "c[d]" in CliRunner().invoke(app, ["doctor"]).output


def test_doctor_names_the_remedy(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "find_library", lambda: None)
    findings = {finding.what: finding for finding in doctor.examine()}
    assert findings["native operators"].state == "missing"
    assert "idle-md build-plugins" in findings["native operators"].remedy
