"""The README's path from one's own data to a trajectory, by the commands it gives."""

import json
import shlex
from pathlib import Path

import ase.io
import numpy as np
import pytest
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.data import load, write_extxyz

ROOT = Path(__file__).resolve().parents[1]
SMALL = "backbone.features=8 budget.steps=20 budget.validate_every=10 threads=1 batch.size=8"


def idle_md(arguments: str) -> str:
    result = CliRunner().invoke(app, shlex.split(arguments))
    if result.exception is not None:
        raise result.exception
    return result.stdout


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


def commands_of(section: str) -> list[str]:
    text = (ROOT / "README.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = text.replace("\\\n", " ").splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.startswith("idle-md ")]


def test_path_from_molecules_to_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = commands_of("Labels")
    assert [command.split()[1] for command in commands] == ["sample", "label", "label"]
    shorter = {
        "--frames 200": "--frames 4",
        "--subset 40": "--subset 1",
        "wb97x/6-31g*": "hf/sto-3g",
    }
    for command in commands:
        arguments = command.removeprefix("idle-md ")
        for old, new in shorter.items():
            arguments = arguments.replace(old, new)
        idle_md(arguments)
    store = load(tmp_path / "set.h5")
    assert [store.has_energy(name).sum() for name in store.fidelities] == [8, 1]


def test_path_from_data_to_trajectory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    commands = commands_of("Your own data")
    verbs = [command.split()[1] for command in commands]
    assert verbs == ["data", "data", "train", "report", "evaluate", "export", "info", "md"]
    output = []
    for verb, command in zip(verbs, commands, strict=True):
        arguments = command.removeprefix("idle-md ").replace("--manifest mine.yaml", "")
        if verb == "train":
            arguments += f" {SMALL} data.split.validation=0.2"
        if verb == "md":
            arguments += " --max-stretch 0"  # 20 steps of training hold no bonds together
        output.append(idle_md(arguments.replace("100000", "200")))
    metrics = json.loads((folder / "runs/mine/metrics.json").read_text())
    assert metrics["test"]["dft"]["n_energies"] == 5
    assert "trivial baseline (xtb's own labels" in output[3].replace("\n", " ")
    assert "dft" in output[4]
    assert "ns/day" in output[7]
    assert (folder / "md.dcd").stat().st_size > 0
