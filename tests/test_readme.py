"""The README's path from one's own data to a trajectory, by the commands it gives."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest

from idle_md.data import load, write_extxyz

ROOT = Path(__file__).resolve().parents[1]
SMALL = "backbone.features=8 budget.steps=20 budget.validate_every=10 threads=1 batch.size=8"


def idle_md(arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "idle_md", *shlex.split(arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    store = load("chno-mini")
    mine = store.select(np.flatnonzero((store.group == "methanol") & store.has_energy("wb97x")))
    mine.labels = {"xtb": mine.labels["gfn2"], "dft": mine.labels["wb97x"]}
    write_extxyz(mine, folder / "mine.extxyz")
    ase.io.write(folder / "molecule.xyz", mine.atoms(0))
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def test_path_from_data_to_trajectory(folder: Path) -> None:
    commands = [
        line.partition("#")[0].strip()
        for line in (ROOT / "README.md").read_text().replace("\\\n", " ").splitlines()
        if line.startswith("idle-md ")
    ]
    verbs = [command.split()[1] for command in commands]
    assert verbs == ["data", "data", "train", "evaluate", "export", "info", "md"]
    output = []
    for verb, command in zip(verbs, commands, strict=True):
        arguments = command.removeprefix("idle-md ").replace("--manifest mine.yaml", "")
        if verb == "train":
            arguments += f" {SMALL} data.split.validation=0.2"
        output.append(idle_md(arguments.replace("100000", "200"), folder))
    metrics = json.loads((folder / "runs/mine/metrics.json").read_text())
    assert metrics["test"]["dft"]["n_energies"] == 5
    assert "dft" in output[3]
    assert "ns/day" in output[6]
    assert (folder / "md.dcd").stat().st_size > 0
