"""Trainings that were killed, resumed."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from idle_md.deploy import export_checkpoint, load
from idle_md.train import load_config, train, train_ensemble

LOOSER = 10.0
"""So many tolerances is what rounding, which depends on the processor, grows to in training."""
RELATIVE = 1e-4
"""Of errors of the model, likewise."""


@pytest.fixture
def folder(files: Path, tmp_path: Path, monkeypatch) -> Path:
    """A writable copy, in which the paths of the configurations are right."""
    shutil.copytree(files / "runs", tmp_path, dirs_exist_ok=True)
    shutil.copy(files / "training.extxyz.gz", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["idle", "transfer", "committee"])
def test_killed_training_goes_on(folder, numbers, structures, assert_same, name) -> None:
    kept, finished = numbers["runs"][name], []
    config = load_config(f"{name}/config.yaml")
    if name != "idle":
        first = {"transfer": "pretrain", "committee": "member-0"}[name]
        finished = [folder / name / first / "best.ckpt"]
    before = [path.read_bytes() for path in finished]
    if config.ensemble > 1:
        train_ensemble(config, config.ensemble, resume=True)
    else:
        train(config, resume=True)
    assert [path.read_bytes() for path in finished] == before  # trained no second time
    assert_close_rows(log(folder / kept["killed"]), kept["log"])
    metrics = json.loads((folder / name / "metrics.json").read_text())
    for role, by_fidelity in kept["roles"].items():
        for fidelity, errors in by_fidelity.items():
            assert known(metrics[role][fidelity]) == pytest.approx(known(errors), rel=RELATIVE)
    for fidelity, values in kept["checkpoint"]["values"].items():
        export_checkpoint(folder / kept["killed"] / "best.ckpt", fidelity, "model.pt")
        model = load("model.pt", kernels="portable")
        for structure, expected in values.items():
            found = model.evaluate(*structures[structure])
            assert_same(*found, expected, torch.float32, LOOSER)


def test_another_optimiser_is_another_run(folder) -> None:
    config = load_config("idle/config.yaml", ["optimizer.algorithm=muon"])
    with pytest.raises(ValueError, match="optimizer changed since it was started"):
        train(config, resume=True)


def known(errors: dict[str, float | None]) -> dict[str, float]:
    return {key: value for key, value in errors.items() if value is not None}


def log(run: Path) -> list[str]:
    return (run / "log.csv").read_text().splitlines()


def assert_close_rows(found: list[str], expected: list[str]) -> None:
    for mine, other in zip(csv.DictReader(found), csv.DictReader(expected), strict=True):
        assert mine.keys() == other.keys()
        for key in mine.keys() - {"seconds"}:
            assert float(mine[key]) == pytest.approx(float(other[key]), rel=RELATIVE), key
