"""The public names: their examples run as they stand, and importing them costs nothing."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import idle_md
from idle_md.data import load, save
from idle_md.train import TrainConfig

EXAMPLES = ["Calculator", "load", "predict"]
CONFIGURATION = {
    "target": "wb97x",
    "labels": {"gfn2": ["energy", "forces"], "wb97x": ["energy"]},
    "data": {"store": "mine.h5", "split": {"by": "geometry", "validation": 0.2}},
    "backbone": {"name": "painn", "features": 8, "interactions": 1, "cutoff": 4.0},
    "budget": {"steps": 4, "validate_every": 2},
    "threads": 1,
}


@pytest.fixture
def folder(tmp_path: Path, model_file, monkeypatch) -> Path:
    (tmp_path / "model.pt").symlink_to(model_file())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_examples(function: object) -> None:
    """Run what stands in a docstring."""
    [examples] = doctest.DocTestFinder(recurse=False).find(function, "example", globs={})
    assert examples.examples
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(examples)
    assert runner.failures == 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str) -> None:
    run_examples(getattr(idle_md, name))


def test_examples_of_training_and_export_run(folder: Path) -> None:
    store = load("chno-mini")
    save(store.select(np.flatnonzero(store.group == "methanol")), folder / "mine.h5")
    (folder / "idle.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    (folder / "model.pt").unlink()
    run_examples(idle_md.train.train)
    run_examples(idle_md.export)
    assert idle_md.load("model.pt").metadata.fidelity == "wb97x"


@pytest.mark.parametrize("name", idle_md.__all__)
def test_every_name_is_described(name: str) -> None:
    described = inspect.getdoc(getattr(idle_md, name)) or ""
    assert len(described.split()) > 5


def test_train_is_a_folder_and_a_function() -> None:
    with pytest.raises(ValueError, match="use `train_ensemble`"):
        idle_md.train(TrainConfig.model_validate(CONFIGURATION | {"out": "runs", "ensemble": 2}))


def test_package_is_imported_without_torch() -> None:
    code = "import sys, idle_md; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
