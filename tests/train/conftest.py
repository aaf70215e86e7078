"""Configurations of trainings that take seconds; the data set is shared with other folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idle_md.train import parse_config, train


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
