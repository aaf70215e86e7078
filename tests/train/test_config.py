from pathlib import Path
from typing import Any

import pytest
import yaml

from idle_md.train import load_config, parse_config


def write(tmp_path: Path, settings: dict[str, Any]) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.mark.parametrize(
    ("section", "misspelt", "right"),
    [
        ("", "methd", "method"),
        ("data", "budget", "budgets"),
        ("backbone", "cutof", "cutoff"),
        ("optimizer", "learning_rte", "learning_rate"),
        ("budget", "step", "steps"),
    ],
)
def test_misspelt_key_names_file_and_nearest(
    tmp_path: Path, settings: dict[str, Any], section: str, misspelt: str, right: str
) -> None:
    (settings[section] if section else settings)[misspelt] = 1
    path = write(tmp_path, settings)
    with pytest.raises(ValueError, match=f"{misspelt}.*did you mean '{right}'") as error:
        load_config(path)
    assert str(path) in str(error.value)


def test_misspelt_method_option(settings: dict[str, Any]) -> None:
    settings["method"] = {"name": "idle", "lowlevel": "gfn2"}
    with pytest.raises(ValueError, match=r"method\.lowlevel.*did you mean 'low_level'"):
        parse_config(settings)


def test_overrides(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = write(tmp_path, settings)
    config = load_config(path, ["method=single", "budget.steps=7", "data.budgets.wb97x=5"])
    assert config.method.name == "single"
    assert config.fidelities == ["wb97x"]
    assert (config.budget.steps, config.data.budgets["wb97x"]) == (7, 5)
    config = load_config(path, ["method=idle", "method.head=independent"])
    assert config.method.name == "idle"
    assert config.method.head == "independent"
    assert config.fidelities == ["gfn2", "wb97x"]
    with pytest.raises(ValueError, match="key=value"):
        load_config(path, ["budget.steps"])


@pytest.mark.parametrize(
    ("budget", "limits"),
    [
        ({}, (20_000, None)),
        ({"validate_every": 5}, (20_000, None)),
        ({"steps": None}, (20_000, None)),
        ({"steps": 7}, (7, None)),
        ({"minutes": 65}, (None, 65)),
        ({"steps": 7, "minutes": 65}, (7, 65)),
    ],
)
def test_minutes_alone_set_no_limit_to_steps(
    settings: dict[str, Any], budget: dict[str, Any], limits: tuple[int | None, float | None]
) -> None:
    finetune = {"name": "idle", "finetune": {"budget": budget}}
    config = parse_config({**settings, "budget": budget, "method": finetune})
    assert (config.budget.steps, config.budget.minutes) == limits
    again = parse_config(config.model_dump(mode="json"))
    for each in (config, again):
        assert (each.budget, each.method) == (config.budget, config.method)
        assert each.method.model_dump()["finetune"]["budget"]["steps"] == limits[0]


def test_target_without_labels(settings: dict[str, Any]) -> None:
    settings["target"] = "ccsdt"
    with pytest.raises(ValueError, match=r"'ccsdt'.*add `ccsdt: \[energy\]`"):
        parse_config(settings)


def test_wrong_value_names_the_key(settings: dict[str, Any]) -> None:
    settings["batch"]["size"] = 0
    with pytest.raises(ValueError, match=r"batch\.size: .*greater than 0"):
        parse_config(settings)


def test_config_cannot_execute_code(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("out: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_config(path)
