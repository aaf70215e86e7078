"""The low-level weight that validation on the target chooses."""

import json
from pathlib import Path
from typing import Any

import pytest

from idle_md.nn import save_checkpoint
from idle_md.train import parse_config, train
from idle_md.train.task import build_task
from idle_md.train.weight import CANDIDATES, choose_weight, with_low_level_weight


def test_weight_multiplies_the_other_fidelities(settings: dict[str, Any]) -> None:
    settings["loss"] = {"gfn2": {"energy": 2.0, "forces": 3.0}, "wb97x": {"energy": 5.0}}
    settings["method"] = {"name": "idle", "low_level_weight": 0.1}
    weights = build_task(parse_config(settings)).objective.weights
    assert weights[0] == pytest.approx((0.2, 0.3))
    assert weights[1] == (5.0, 0.0)


def test_automatic_weight_is_the_best_candidate(settings: dict[str, Any]) -> None:
    settings["method"] = {"name": "idle", "low_level_weight": "auto"}
    settings["budget"] = {"steps": 100, "validate_every": 50}
    run = train(parse_config(settings))
    found = json.loads((run / "weights.json").read_text())
    assert [float(name) for name in found["scores"]] == list(CANDIDATES)
    assert found["scores"][f"{found['chosen']}"] == min(found["scores"].values())
    assert (run / "metrics.json").is_file()


def test_chosen_weight_follows_the_scores(settings: dict[str, Any], tmp_path: Path) -> None:
    config = parse_config({**settings, "method": {"name": "idle", "low_level_weight": "auto"}})
    trained: list[float] = []

    def fake(trial, resume, console):
        weight = trial.method.low_level_weight
        trained.append(weight)
        score = abs(weight - 0.3)
        trial.out.mkdir(parents=True)
        task = build_task(trial)
        about = {"validation": {"score": score}}
        save_checkpoint(trial.out / "best.ckpt", task.potential, about)
        (trial.out / "metrics.json").write_text("{}")
        return trial.out

    assert choose_weight(config, fake, None) == 0.3
    assert choose_weight(config, fake, None) == 0.3
    assert trained == list(CANDIDATES)  # finished trials are not repeated
    assert with_low_level_weight(config, 0.3).method.low_level_weight == 0.3


def test_auto_is_only_for_train(settings: dict[str, Any]) -> None:
    settings["method"] = {"name": "idle", "low_level_weight": "auto"}
    with pytest.raises(ValueError, match="only `train` can choose"):
        build_task(parse_config(settings))
