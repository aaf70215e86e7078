"""A small two-level data set and a configuration that trains on it within seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idle_md.data import load


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Methanol and methylamine of chno-mini, all labels and roles."""
    store = load("chno-mini")
    chosen = np.isin(store.group, ["methanol", "methylamine"])
    path = tmp_path_factory.mktemp("data") / "small.h5"
    store.select(np.flatnonzero(chosen)).write(path)
    return path


@pytest.fixture
def settings(small_store: Path, tmp_path: Path) -> dict[str, Any]:
    """Plain values of a configuration."""
    return {
        "out": str(tmp_path / "run"),
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
