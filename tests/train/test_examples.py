"""Every configuration of examples/methods as it is, and the order that must hold among them."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idle_md.data import load
from idle_md.report.baseline import TrivialBaseline
from idle_md.train import load_config, train

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "methods"
NAMES = ("single", "idle", "idle_finetune", "low_forces", "transfer", "adapt", "delta")
ENERGY = "energy_mae_mev"
RELATIVE = "relative_energy_mae_mev"
FORCE = "force_mae_mev_per_angstrom"
MINUTES = 5.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


def run(name: str, out: Path, *changes: str) -> dict[str, Any]:
    """Train an example and return its metrics."""
    train(load_config(EXAMPLES / f"{name}.yaml", [f"out={out}", *changes]))
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Errors on the test geometries by example, and the minutes that each took."""
    low_level = folder / "transfer" / "pretrain" / "best.ckpt"
    found = {}
    for name in sorted(NAMES, key=lambda name: name == "adapt"):
        changes = [f"method.checkpoint={low_level}"] if name == "adapt" else []
        begun = time.monotonic()
        errors = run(name, folder / name, *changes)["test"]["wb97x"]
        found[name] = {**errors, "minutes": (time.monotonic() - begun) / 60}
        print(name, found[name])
    return found


@pytest.fixture(scope="module")
def trivial() -> Any:
    config = load_config(EXAMPLES / "idle.yaml", ["data.budgets.wb97x=72"])
    store = load(config.data.store)
    test = store.select(np.flatnonzero((store.role == "test") & store.has_energy("wb97x")))
    return TrivialBaseline.fitted(config, "gfn2").errors(test)[0]


def test_there_is_an_example_of_every_method() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.yaml")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_less_than_five_minutes(results: dict[str, dict[str, Any]], name: str) -> None:
    assert results[name]["minutes"] < MINUTES


def test_low_level_forces_halve_the_force_error(results: dict[str, dict[str, Any]]) -> None:
    assert results["low_forces"][FORCE] <= 0.5 * results["single"][FORCE]


@pytest.mark.parametrize("name", ["transfer", "delta", "idle", "idle_finetune", "adapt"])
def test_it_beats_single(results: dict[str, dict[str, Any]], name: str) -> None:
    for key in (ENERGY, RELATIVE, FORCE):
        assert results[name][key] < results["single"][key]


@pytest.mark.parametrize("labels", [36, 72])
def test_adapt_with_few_labels(
    results: dict[str, dict[str, Any]], folder: Path, trivial: Any, labels: int
) -> None:
    low_level = folder / "transfer" / "pretrain" / "best.ckpt"
    draws = []
    for seed in range(5):
        out = folder / f"adapt-{labels}-{seed}"
        changes = [f"method.checkpoint={low_level}", f"data.budgets.wb97x={labels}"]
        metrics = run("adapt", out, *changes, f"data.split.seed={seed}")
        covered = metrics["uncertainty"]["test"]["share_within_one_std"]
        draws.append({**metrics["test"]["wb97x"], "covered": covered})
    mean = {key: np.mean([draw[key] for draw in draws]) for key in (RELATIVE, FORCE, "covered")}
    print(labels, mean)
    if labels == 72:
        assert mean[FORCE] < trivial[FORCE]
        assert mean[RELATIVE] < trivial[RELATIVE]
        assert 0.60 <= mean["covered"] <= 0.75
    else:
        changes = ["labels.wb97x=[energy, forces]", "data.budgets.wb97x=72"]
        with_forces = [
            run("single", folder / f"single-{rate}", *changes, f"optimizer.learning_rate={rate}")
            for rate in (5e-4, 4e-3)
        ]
        best = min(metrics["test"]["wb97x"][FORCE] for metrics in with_forces)
        print("single, 72 energies and forces", best)
        assert mean[FORCE] < best
