import importlib.metadata
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

from idle_md.data import Store
from idle_md.nn import load_checkpoint
from idle_md.train import load_config, parse_config, train
from idle_md.train.fit.callbacks import read_log
from idle_md.train.fit.optimizer import Optimization
from idle_md.train.run import opened_folder
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import build_task

NO_EDGES_KEPT = """
from idle_md.cli.main import main
from idle_md.data import batch
batch.KEPT_BYTES = 0
main()
"""


BUDGET = {"steps": 120, "validate_every": 10, "early_stopping": 50}


@pytest.fixture(scope="module")
def run(
    make_settings: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run, which no test changes."""
    settings = make_settings(tmp_path_factory.mktemp("whole") / "run")
    return train(parse_config({**settings, "budget": BUDGET}))


def metrics(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return content


def test_run_learns_and_reports(run: Path) -> None:
    rows = read_log(run / "log.csv")
    assert [row["step"] for row in rows] == list(range(10, 121, 10))
    key = "gfn2_force_mae_mev_per_angstrom"
    assert rows[-1][key] < 0.6 * rows[0][key]
    found = metrics(run)
    assert found["label_counts"]["wb97x"]["train"] == {"energy": 18, "forces": 0}
    test = found["test"]
    assert test["wb97x"]["n_energies"] == test["wb97x"]["n_forces"] == 10
    assert found["ood"]["wb97x"]["n_energies"] == 0
    assert found["ood"]["wb97x"]["energy_mae_mev"] is None
    assert found["versions"]["torch"] == importlib.metadata.version("torch")


def test_best_checkpoint_is_the_one_with_the_smallest_score(run: Path) -> None:
    rows = read_log(run / "log.csv")
    _, metadata = load_checkpoint(run / "best.ckpt")
    best = min(rows, key=lambda row: row["score"])
    assert metadata["validation"] == {"step": best["step"], "score": pytest.approx(best["score"])}


def test_score_is_the_error_of_the_averaged_weights(run: Path, settings: dict[str, Any]) -> None:
    """The weights in best.ckpt give the very error that was logged."""
    potential, metadata = load_checkpoint(run / "best.ckpt")
    task = build_task(parse_config(settings))
    shown = ~torch.isnan(task.tensors.energies[task.splits["validation"], 1]).numpy()
    batch = task.tensors.batch(task.splits["validation"][shown])
    atomic = potential(batch.species, batch.edge_index, batch.edge_vectors)[:, 1]
    energies = torch.zeros(batch.n_graphs, dtype=torch.float64)
    energies = energies.index_add(0, batch.graph_index, atomic.detach())
    n_atoms = torch.bincount(batch.graph_index)
    error = ((energies - batch.energies[:, 1]).abs() / n_atoms).mean()
    assert 1e3 * error.item() == pytest.approx(metadata["validation"]["score"], rel=1e-3)


@pytest.mark.parametrize("method", ["single", {"name": "idle", "head": "independent"}])
def test_other_methods(settings: dict[str, Any], method: Any) -> None:
    settings |= {"method": method}
    settings["budget"] = {"steps": 40, "validate_every": 10, "early_stopping": 50}
    settings["optimizer"] = {"schedule": "plateau", "learning_rate": 1e-2}
    run = train(parse_config(settings))
    rows = read_log(run / "log.csv")
    assert min(row["score"] for row in rows[1:]) < rows[0]["score"]
    assert set(metrics(run)["test"]) == ({"wb97x"} if method == "single" else {"gfn2", "wb97x"})


def test_early_stopping(settings: dict[str, Any]) -> None:
    settings["optimizer"] = {"learning_rate": 1e-12}
    settings["budget"] = {"steps": 1000, "validate_every": 2, "early_stopping": 3}
    assert len(read_log(train(parse_config(settings)) / "log.csv")) < 20


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of a second passes between two looks at the clock, whatever the machine does."""
    looks = itertools.count()
    steady = SimpleNamespace(monotonic=lambda: 0.01 * next(looks))
    monkeypatch.setattr("idle_md.train.fit.module.time", steady)


@pytest.mark.usefixtures("clock")
def test_minutes_end_a_run(settings: dict[str, Any]) -> None:
    settings["budget"] = {"minutes": 0.05, "validate_every": 5}
    console = Console(file=io.StringIO(), width=200)
    rows = read_log(train(parse_config(settings), console=console) / "log.csv")
    assert 3.0 < rows[-1]["seconds"] < 3.5
    assert rows[-1]["learning_rate"] < 0.05 * rows[0]["learning_rate"]
    shown = lines(console)
    ending = "steps: the 0.05 minutes of budget.minutes are over"
    assert shown[-1] == f"Ended after {rows[-1]['step']:,.0f} {ending}"
    shares = [int(line.split("%")[0]) for line in shown if "%" in line]
    assert shares == sorted(shares)
    assert (shares[0] < 50, shares[-1]) == (True, 100)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


class Closed(Console):
    """A terminal that is closed at the third validation."""

    def print(self, *objects: Any, **settings: Any) -> None:
        if "step      15" in str(objects[0]):
            raise OSError("closed")


@pytest.mark.usefixtures("clock")
def test_minutes_go_on_when_resumed(settings: dict[str, Any]) -> None:
    settings["budget"] = {"minutes": 0.05, "validate_every": 5}
    config = parse_config(settings)
    with pytest.raises(OSError, match="closed"):
        train(config, console=Closed())
    log = Path(settings["out"]) / "log.csv"
    before = read_log(log)
    rows = read_log(train(config, resume=True) / "log.csv")
    assert [row["step"] for row in before] == [5, 10, 15]
    assert [row["seconds"] for row in rows[:2]] == [row["seconds"] for row in before[:2]]
    assert rows[-1]["step"] > 15
    assert rows[2]["seconds"] > rows[1]["seconds"]
    assert 3.0 < rows[-1]["seconds"] < 3.5
    assert rows[-1]["learning_rate"] < 0.05 * rows[0]["learning_rate"]


def test_run_that_was_begun_with_the_default_of_steps_is_resumed(settings: dict[str, Any]) -> None:
    """As idle_md 0.1.0 wrote a budget of minutes alone."""
    settings["budget"] = {"minutes": 65}
    file = opened_folder(parse_config(settings), resume=False).config_file
    written = yaml.safe_load(file.read_text())
    old = {**written, "budget": {**written["budget"], "steps": 20_000}}
    for budget in ({"minutes": 65}, {"minutes": 65, "steps": 20_000}):
        file.write_text(yaml.safe_dump(old))
        opened_folder(parse_config({**settings, "budget": budget}), resume=True)
    for budget in ({"minutes": 60}, {"minutes": 65, "steps": 100}, {"steps": 20_000}):
        file.write_text(yaml.safe_dump(old))
        with pytest.raises(ValueError, match="budget changed since it was started"):
            opened_folder(parse_config({**settings, "budget": budget}), resume=True)


@pytest.mark.parametrize(
    ("budget", "ending"),
    [
        ({"steps": 4, "minutes": 60, "validate_every": 2}, "4 steps, those of budget.steps"),
        (
            {"steps": 1000, "validate_every": 2, "early_stopping": 3},
            "steps: no better in 3 validations (budget.early_stopping)",
        ),
    ],
)
def test_what_ended_a_run_is_told(settings: dict[str, Any], budget: Any, ending: str) -> None:
    settings["optimizer"] = {"learning_rate": 1e-12}
    settings["budget"] = budget
    console = Console(file=io.StringIO(), width=200)
    train(parse_config(settings), console=console)
    assert lines(console)[-1].startswith("Ended after ")
    assert lines(console)[-1].endswith(ending)


def test_killed_and_resumed_run_ends_with_the_same_model(
    run: Path, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killed run makes edges with each batch, as on a large store; the whole one keeps them."""
    config, out = tmp_path / "config.yaml", Path(settings["out"])
    config.write_text(yaml.safe_dump({**settings, "budget": BUDGET}))
    command = [sys.executable, "-c", NO_EDGES_KEPT, "train", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while len(read_log(out / "log.csv")) < 4:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "metrics.json").exists()
    monkeypatch.setattr("idle_md.data.batch.KEPT_BYTES", 0)
    train(load_config(config), resume=True)
    for role in ("test", "ood"):
        assert metrics(out)[role] == metrics(run)[role]
    weights, expected = (load_checkpoint(f / "best.ckpt")[0].state_dict() for f in (out, run))
    assert weights.keys() == expected.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, equal_nan=True)
    columns = ("step", "score", "gfn2_energy_mae_mev")
    logs = [[tuple(r[c] for c in columns) for r in read_log(f / "log.csv")] for f in (out, run)]
    assert logs[0] == logs[1]


def test_run_does_not_go_on_with_other_labels(settings: dict[str, Any], tmp_path: Path) -> None:
    store = Store.read(settings["data"]["store"])
    store.write(tmp_path / "store.h5")
    settings["data"]["store"] = str(tmp_path / "store.h5")
    settings["budget"] = {"steps": 4, "validate_every": 2}
    run = train(parse_config(settings))
    (run / "metrics.json").unlink()
    train(parse_config(settings), resume=True)
    labels = store.labels_of("gfn2")
    labels.energy[np.flatnonzero(store.role == "train")[:3]] = np.nan
    store.write(tmp_path / "store.h5")
    with pytest.raises(ValueError, match=r"begun with other labels.*the old data set"):
        train(parse_config(settings), resume=True)


def test_folder_with_a_run_is_not_overwritten(run: Path, settings: dict[str, Any]) -> None:
    settings |= {"budget": BUDGET, "out": str(run)}
    before = (run / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match="already holds a run: pass --resume"):
        train(parse_config(settings))
    settings["seed"] = 5
    with pytest.raises(ValueError, match=r"cannot resume .*seed changed"):
        train(parse_config(settings), resume=True)
    assert (run / "metrics.json").read_bytes() == before


def test_unwritable_folder(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings["out"] = str(tmp_path / "file" / "run")
    with pytest.raises(OSError, match=r"cannot write .*file/run"):
        train(parse_config(settings))


def test_divergence_is_an_error(settings: dict[str, Any]) -> None:
    settings["optimizer"] = {"learning_rate": 1e25, "warmup_steps": 0}
    with pytest.raises(ValueError, match=r"the loss became .*learning_rate"):
        train(parse_config(settings))


def test_weight_decay_acts_on_corrections_alone(settings: dict[str, Any]) -> None:
    settings["optimizer"] = {"correction_weight_decay": 0.5}
    config = parse_config(settings)
    potential = untrained_potential(build_task(config))
    found = Optimization(config.optimizer, rates={}).of(potential, progress=lambda: 0.0)
    plain, decayed = found["optimizer"].param_groups
    names = {id(p): name for name, p in potential.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {
        "heads.output.wb97x.weight",
        "heads.output.wb97x.bias",
    }
    assert (plain["weight_decay"], decayed["weight_decay"]) == (0.0, 0.5)
    trained = sum(p.requires_grad for p in potential.parameters())
    assert len(plain["params"]) + 2 == trained
