"""Ctrl-C as a terminal sends it, to all processes; full disks; folders that cannot be."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest

from idle_md.data import Store, load

IDLE_MD = (sys.executable, "-m", "idle_md")
PATIENCE = 120.0


@pytest.fixture(scope="module")
def files(tmp_path_factory, model_file) -> Path:
    folder = tmp_path_factory.mktemp("files")
    store = load("chno-mini")
    store.select(np.flatnonzero(store.group == "methanol")).write(folder / "set.h5")
    ase.io.write(folder / "water.xyz", ase.build.molecule("H2O"))
    return folder


def stopped(line: list[str], folder: Path, sign: str) -> subprocess.CompletedProcess[str]:
    """Press Ctrl-C as soon as there is a file of such a name."""
    process = subprocess.Popen(
        [*IDLE_MD, *line],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + PATIENCE
    while not any(path.stat().st_size for path in folder.rglob(sign) if path.is_file()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(line, process.returncode, out, err)


@pytest.mark.slow
def test_ctrl_c_ends_labelling_in_all_processes(tmp_path) -> None:
    store = load("chno-mini")
    store.select(np.flatnonzero(store.has_energy("wb97x"))[:1200]).write(tmp_path / "set.h5")
    line = ["label", "set.h5", "--level", "gfn2", "--fidelity", "again", "--jobs", "1"]
    found = stopped(line, tmp_path, "again/*")
    assert (found.returncode, found.stderr) == (130, "")
    assert "again" not in Store.read(tmp_path / "set.h5").labels
    subprocess.run([*IDLE_MD, *line, "-q"], cwd=tmp_path, check=True)
    assert Store.read(tmp_path / "set.h5").has_energy("again").all()


def test_ctrl_c_ends_dynamics(files, tmp_path) -> None:
    line = ["md", "idle-s", str(files / "water.xyz"), "--steps", "9000000"]
    found = stopped([*line, "--trajectory", "md.xyz"], tmp_path, "md*.xyz")
    assert (found.returncode, found.stderr) == (130, "")
    assert not (tmp_path / "md.xyz").exists()  # what is there is called a part


LINES = {
    "convert": ["data", "convert", "{files}/set.h5", "out.extxyz"],
    "export": ["export", "idle-s", "-o", "out.pt"],
    "modes": ["freq", "idle-s", "CCO", "--out", "out"],
    "dynamics": ["md", "idle-s", "{files}/water.xyz", "--trajectory", "out.xyz", "--steps", "50"],
    "train": ["train", "{root}/examples/idle.yaml", "out=out"],
}


def run(line: list[str], files: Path, folder: Path, limit: int | None) -> tuple[int, str]:
    root = Path(__file__).resolve().parents[2]
    words = [word.format(files=files, root=root) for word in line]
    full = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    done = subprocess.run(
        [*IDLE_MD, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=full,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", LINES)
def test_full_disk_leaves_no_half_file(name, files, tmp_path) -> None:
    """Files may have no more than 300 bytes."""
    code, told = run(LINES[name], files, tmp_path, 300)
    assert code == 1, told
    assert "Traceback" not in told
    assert "cannot write" in told or "File too large" in told
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert [name for name in left if ".part." not in name] == []


@pytest.mark.parametrize("name", ["convert", "modes", "dynamics", "train"])
def test_what_cannot_be_a_folder_is_an_error(name, files, tmp_path) -> None:
    """Root may write anywhere, but not below a file."""
    (tmp_path / "taken").write_text("mine")
    line = [word.replace("out", "taken/out") if "out" in word else word for word in LINES[name]]
    line = [word.replace("--taken/out", "--out").replace("taken/out=", "out=") for word in line]
    code, told = run(line, files, tmp_path, None)
    assert code == 1, told
    [error] = [each for each in told.splitlines() if each.startswith("error: ")]
    assert "taken" in error
    assert "Traceback" not in told
    assert (tmp_path / "taken").read_text() == "mine"
