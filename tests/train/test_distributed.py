"""Two processes train as one does on the same configuration."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from idle_md.nn import load_checkpoint
from idle_md.train import load_config, train
from idle_md.train.fit.callbacks import read_log

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
ERRORS = ("score", "gfn2_energy_mae_mev", "gfn2_force_mae_mev_per_angstrom", "wb97x_energy_mae_mev")


@pytest.fixture(scope="module")
def folder(
    make_settings: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Where two_processes.py has run; its first training was killed, see there."""
    folder = tmp_path_factory.mktemp("processes")
    settings = make_settings(folder / "one")
    settings["optimizer"]["learning_rate"] = 5e-3  # at 1e-2, rounding alone changes the errors
    settings["batch"]["target_share"] = 0.5  # each process has target labels
    settings["budget"] = {"steps": 60, "validate_every": 5}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, str(Path(__file__).with_name("two_processes.py")), str(folder)]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, env=ONE_THREAD, stdout=output, stderr=output)
    try:
        while len(read_log(folder / "killed/log.csv")) < 4:
            assert process.poll() is None, (folder / "output").read_text()
            time.sleep(0.01)
        for number in [int((folder / f"process-{rank}").read_text()) for rank in (0, 1)]:
            with suppress(ProcessLookupError):  # one does not outlive the other for long
                os.kill(number, signal.SIGKILL)
        assert not (folder / "killed/metrics.json").exists()
        assert process.wait() == 0, (folder / "output").read_text()
    finally:
        process.terminate()  # it ends what it started
    return folder


@pytest.fixture(scope="module")
def one(folder: Path) -> Path:
    return train(load_config(folder / "config.yaml"))


def metrics(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return content


def curves(run: Path) -> dict[str, list[float]]:
    rows = read_log(run / "log.csv")
    return {key: [row[key] for row in rows] for key in ("step", "learning_rate", *ERRORS)}


def test_validation_curve_is_that_of_one_process(folder: Path, one: Path) -> None:
    found, expected = curves(folder / "whole"), curves(one)
    assert found["step"] == expected["step"] == list(range(5, 61, 5))
    forces = expected["gfn2_force_mae_mev_per_angstrom"]
    assert forces[-1] < 0.99 * forces[0]
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-3), key


def test_parameters_and_errors_are_those_of_one_process(folder: Path, one: Path) -> None:
    found, metadata = load_checkpoint(folder / "whole/best.ckpt")
    expected, expected_metadata = load_checkpoint(one / "best.ckpt")
    assert metadata["validation"]["step"] == expected_metadata["validation"]["step"]
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(
            found.get_parameter(name), parameter, rtol=1e-3, atol=1e-4, msg=name
        )
    for level, errors in metrics(one)["test"].items():
        for key, value in errors.items():
            assert metrics(folder / "whole")["test"][level][key] == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("hidden", ["nothing", "target", "forces", "everything"])
@pytest.mark.parametrize("rank", [0, 1])
def test_gradient_with_labels_missing_in_one_process(folder: Path, hidden: str, rank: int) -> None:
    error = json.loads((folder / f"gradients-{rank}.json").read_text())
    assert error[hidden] < 1e-12


def test_killed_run_goes_on_to_the_same_end(folder: Path) -> None:
    assert curves(folder / "killed") == curves(folder / "whole")
    assert metrics(folder / "killed")["test"] == metrics(folder / "whole")["test"]


def test_one_process_prints(folder: Path) -> None:
    output = (folder / "output").read_text().replace("\n", "")
    assert output.count(f"Errors on test data are in {folder / 'whole/metrics.json'}") == 1
    assert output.count("Labels used") == 3  # killed, gone on, whole


def test_batch_smaller_than_the_number_of_processes_is_refused(folder: Path) -> None:
    for rank in (0, 1):
        assert "there are 1: raise batch.size" in (folder / f"refused-{rank}").read_text()


@pytest.mark.slow
def test_validation_errors_on_the_shipped_data_are_those_of_one_process(tmp_path: Path) -> None:
    settings = {
        "out": str(tmp_path / "one"),
        "target": "wb97x",
        "labels": {"gfn2": ["energy", "forces"], "wb97x": ["energy"]},
        "data": {"store": "chno-mini", "budgets": {"wb97x": 144}},
        "backbone": {"features": 32, "cutoff": 4.0, "n_radial": 10},
        "optimizer": {"learning_rate": 1e-3},
        "budget": {"steps": 400, "validate_every": 100},
        "threads": 1,
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    one = train(load_config(config))
    command = [*TORCHRUN, "-m", "idle_md", "train", str(config), f"out={tmp_path / 'two'}"]
    subprocess.run(command, env=ONE_THREAD, check=True)
    expected, found = read_log(one / "log.csv")[-1], read_log(tmp_path / "two/log.csv")[-1]
    assert expected["gfn2_force_mae_mev_per_angstrom"] < 350
    for key in ERRORS:
        print(f"{key}: {expected[key]:.2f} in one process, {found[key]:.2f} in two")
        assert found[key] == pytest.approx(expected[key], rel=0.05), key
