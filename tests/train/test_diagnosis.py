import json
from typing import Any

import numpy as np
import pytest

from idle_md.train import diagnose, parse_config
from idle_md.train.diagnosis import control, judge


def test_judgement() -> None:
    better = judge([0, 1, 2], [1.0, 1.1, 0.9], [2.0, 2.1, 2.2])
    assert better.verdict == "helped"
    assert better.ratio == pytest.approx(np.exp(np.mean(np.log([1 / 2, 1.1 / 2.1, 0.9 / 2.2]))))
    assert judge([0, 1, 2], [2.0, 2.1, 2.2], [1.0, 1.1, 0.9]).verdict == "hurt"
    unclear = judge([0, 1], [1.0, 1.3], [1.1, 1.0])
    assert unclear.verdict == "made no clear difference"
    assert unclear.ratio_low < unclear.ratio < unclear.ratio_high


def test_interval_is_student_t() -> None:
    found = judge([0, 1], [np.e, np.e**3], [1.0, 1.0])
    # mean logarithm 2, standard error 1, t(0.975, 1) = 12.706
    assert np.log([found.ratio_low, found.ratio_high]) == pytest.approx([-10.706, 14.706], abs=1e-3)


def test_low_level_helps_and_finished_trainings_are_not_repeated(settings: dict[str, Any]) -> None:
    settings["budget"] = {"steps": 100, "validate_every": 25}
    settings["data"] |= {"budgets": {"wb97x": 40}, "budget_validation": 0.5}
    config = parse_config({**settings, "diagnose": 2})
    found = diagnose(config, config.diagnose, resume=False, console=None)
    assert found.seeds == [0, 1]
    assert found.ratio < 1.0
    written = json.loads((config.out / "diagnosis.json").read_text())
    assert written["with_low_level"] == found.with_low_level
    files = sorted(config.out.glob("diagnosis/*/best.ckpt"))
    assert len(files) == 4
    times = [file.stat().st_mtime_ns for file in files]
    assert diagnose(config, 2, resume=True, console=None) == found
    assert [file.stat().st_mtime_ns for file in files] == times


def test_control_sees_the_same_target_labels(settings: dict[str, Any]) -> None:
    config = parse_config(settings)
    assert control(config).fidelities == ["wb97x"]
    assert control(config).budget == config.budget
    assert control(config).data == config.data


def test_misuse(settings: dict[str, Any]) -> None:
    assert parse_config({**settings, "diagnose": True}).diagnose == 3
    with pytest.raises(ValueError, match=r"diagnose: .*two seeds"):
        parse_config({**settings, "diagnose": 1})
    with pytest.raises(ValueError, match="choose another method"):
        diagnose(parse_config({**settings, "method": "single"}), 2, False, None)
