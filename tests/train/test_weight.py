"""The low-level weight that validation on the target chooses."""

import json
from typing import Any

import pytest

from idle_md.nn import save_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import parse_config, train
from idle_md.train.stages import weight as module
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.stages.weight import CANDIDATES, WeightChoice
from idle_md.train.task import build_task


def test_weight_multiplies_the_other_fidelities(settings: dict[str, Any]) -> None:
    settings["loss"] = {"gfn2": {"energy": 2.0, "forces": 3.0}, "wb97x": {"energy": 5.0}}
    settings["method"] = {"name": "idle", "low_level_weight": 0.1}
    weights = build_task(parse_config(settings)).objective.weights
    assert weights[0] == pytest.approx((0.2, 0.3, 0.0))
    assert weights[1] == (5.0, 0.0, 0.0)


def test_automatic_weight_is_the_best_candidate_and_trials_are_not_repeated(
    settings: dict[str, Any],
) -> None:
    settings["method"] = {"name": "idle", "low_level_weight": "auto"}
    settings["budget"] = {"steps": 20, "validate_every": 10}
    config = parse_config(settings)
    folder = RunFolder(train(config))
    found = json.loads(folder.weights_file.read_text())
    assert [float(name) for name in found["scores"]] == list(CANDIDATES)
    assert len(set(found["scores"].values())) == len(CANDIDATES)
    assert found["scores"][f"{found['chosen']}"] == min(found["scores"].values())
    checkpoints = [folder.trial(weight).best_checkpoint for weight in CANDIDATES]
    before = [checkpoint.stat().st_mtime_ns for checkpoint in checkpoints]
    folder.metrics_file.unlink()
    train(config, resume=True)
    assert folder.metrics_file.is_file()
    assert [checkpoint.stat().st_mtime_ns for checkpoint in checkpoints] == before


def test_trials_of_minutes_have_a_share_of_them(settings: dict[str, Any]) -> None:
    settings["method"] = {"name": "idle", "low_level_weight": "auto"}
    settings["budget"] = {"minutes": 60}
    config = parse_config(settings)
    (stage,) = config.method.stages(config, RunFolder(config.out))
    assert isinstance(stage, WeightChoice)
    for trial in stage.trials.values():
        assert (trial.budget.steps, trial.budget.minutes) == (None, pytest.approx(9.0))


def test_chosen_weight_follows_the_scores(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_config({**settings, "method": {"name": "idle", "low_level_weight": "auto"}})
    folder = RunFolder(config.out)

    def fake(trial, console):
        trained = RunFolder(trial.out)
        score = abs(trial.method.low_level_weight - 0.3)
        about = {"validation": {"score": score}}
        save_checkpoint(trained.best_checkpoint, untrained_potential(build_task(trial)), about)
        return trained

    monkeypatch.setattr(module, "train_unless_finished", fake)
    (stage,) = config.method.stages(config, folder)
    assert isinstance(stage, WeightChoice)
    assert list(stage.trials) == list(CANDIDATES)
    assert stage.chosen(None) == 0.3
    assert json.loads(folder.weights_file.read_text())["chosen"] == 0.3
    (fit,) = stage.following(0.3)
    assert fit.config.method.low_level_weight == 0.3


def test_auto_is_only_for_train(settings: dict[str, Any]) -> None:
    settings["method"] = {"name": "idle", "low_level_weight": "auto"}
    with pytest.raises(ValueError, match="only `train` can choose"):
        build_task(parse_config(settings))
