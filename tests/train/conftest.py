"""A small two-level data set and a configuration that trains on it within seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idle_md.data import load
from idle_md.train import parse_config, train


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dynamics of methanol and methylamine of chno-mini, all roles."""
    store = load("chno-mini", ["gfn2", "wb97x", "ccsdt"])
    chosen = np.isin(store.group, ["methanol", "methylamine"]) & (store.info["sampling"] == "")
    path = tmp_path_factory.mktemp("data") / "small.h5"
    store.select(np.flatnonzero(chosen)).write(path)
    return path


@pytest.fixture(scope="session")
def make_settings(small_store: Path) -> Callable[[Path], dict[str, Any]]:
    """Plain values of a configuration, by the run folder."""
    return lambda out: {
        "out": str(out),
        "target": "wb97x",
        "labels": {"gfn2": ["energy", "forces"], "wb97x": ["energy"]},
        "data": {
            "store": str(small_store),
            "split": {"validation": 0.3},
            "budgets": {"wb97x": 20},
        },
        "backbone": {"features": 16, "cutoff": 4.0, "n_radial": 6},
        "head_hidden": 8,
        "batch": {"size": 8},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 5, "ema_decay": 0.9},
        "budget": {"steps": 150, "validate_every": 25},
        "threads": 1,
    }


@pytest.fixture
def settings(make_settings: Callable[[Path], dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """Plain values of a configuration."""
    return make_settings(tmp_path / "run")


@pytest.fixture(scope="session")
def pretrained(
    make_settings: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Checkpoint of a model of the low level alone."""
    settings = make_settings(tmp_path_factory.mktemp("pretrained") / "run")
    low = {"target": "gfn2", "labels": {"gfn2": ["energy", "forces"]}, "method": "single"}
    data = {**settings["data"], "budgets": {}}
    return train(parse_config({**settings, **low, "data": data})) / "best.ckpt"
