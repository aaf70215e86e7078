"""Several members trained in one call, and the errors of their mean."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.deploy import export_checkpoint, load
from idle_md.nn import load_checkpoint
from idle_md.train import parse_config, train, train_ensemble
from idle_md.train.errors import errors_of_file

QUICK = {"steps": 20, "validate_every": 10}


@pytest.fixture
def quick(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "budget": QUICK}


@pytest.fixture(scope="module")
def trained(
    make_settings: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Settings of a committee of two that is trained, and stays as it is."""
    settings = make_settings(tmp_path_factory.mktemp("committee") / "run")
    settings = {**settings, "budget": QUICK, "seed": 7, "ensemble": 2}
    train_ensemble(parse_config(settings), 2)
    return settings


def metrics(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return content


def test_committee_is_trained_evaluated_and_exported(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    run = Path(trained["out"])
    found, single = metrics(run), metrics(run / "member-0")
    assert set(found) == {*single, "members", "uncertainty"}
    spread = found["uncertainty"]["test"]
    assert spread["energies"]["n"] == found["test"]["wb97x"]["n_energies"]
    assert spread["energies"]["mean_std_mev"] > 0
    assert 0 <= spread["forces"]["share_within_one_std"] < 1
    assert found["members"] == [metrics(run / f"member-{k}") for k in range(2)]
    assert found["label_counts"] == single["label_counts"]
    seeds = [
        yaml.safe_load((run / f"member-{k}/config.yaml").read_text())["seed"] for k in range(2)
    ]
    assert seeds == [7, 8]
    assert yaml.safe_load((run / "config.yaml").read_text())["ensemble"] == 2
    weights = [
        load_checkpoint(run / f"member-{k}/best.ckpt")[0].backbone.embedding.weight
        for k in range(2)
    ]
    assert not torch.equal(weights[0], weights[1])

    metadata = export_checkpoint(run, None, tmp_path / "model.pt")
    assert (metadata.members, metadata.test_errors["test"]) == (2, found["test"]["wb97x"])
    deployed = errors_of_file(tmp_path / "model.pt", trained["data"]["store"])
    assert deployed["test"]["wb97x"] == pytest.approx(found["test"]["wb97x"], rel=1e-3)
    assert load(tmp_path / "model.pt").metadata.label_counts == found["label_counts"]
    for key in ("energy_mae_mev", "force_mae_mev_per_angstrom"):
        errors = [member["test"]["wb97x"][key] for member in found["members"]]
        assert found["test"]["wb97x"][key] <= sum(errors) / 2 + 1e-6  # the triangle inequality


def test_interrupted_committee_goes_on(quick: dict[str, Any]) -> None:
    config = parse_config({**quick, "ensemble": 2})
    run = train_ensemble(config, 2)
    before = metrics(run)
    finished = (run / "member-0/best.ckpt").stat().st_mtime_ns
    (run / "metrics.json").unlink()
    (run / "member-1/metrics.json").unlink()
    with pytest.raises(ValueError, match="already holds a run: pass --resume"):
        train_ensemble(config, 2)
    train_ensemble(config, 2, resume=True)
    assert (run / "member-0/best.ckpt").stat().st_mtime_ns == finished
    assert metrics(run)["test"] == before["test"]
    with pytest.raises(ValueError, match=r"cannot resume .*ensemble changed"):
        train_ensemble(config, 3, resume=True)


def test_member_is_the_training_of_its_seed(trained: dict[str, Any], quick: dict[str, Any]) -> None:
    alone = train(parse_config({**quick, "seed": 8}))
    assert metrics(alone)["test"] == metrics(Path(trained["out"]) / "member-1")["test"]


def test_committee_of_a_method_that_trains_twice(quick: dict[str, Any]) -> None:
    finetune = {"budget": {"steps": 20, "validate_every": 10}}
    quick["method"] = {"name": "transfer", "source": "gfn2", "finetune": finetune}
    run = train_ensemble(parse_config(quick), 2)
    assert set(metrics(run)["test"]) == {"wb97x"}
    assert (run / "member-1/pretrain/best.ckpt").is_file()


def test_explicit_differences_are_evaluated_as_such(quick: dict[str, Any]) -> None:
    quick["method"] = {"name": "delta", "low_level": "gfn2"}
    quick["labels"] = {"wb97x": ["energy", "forces"]}
    found = metrics(train_ensemble(parse_config(quick), 2))
    key = "force_mae_mev_per_angstrom"
    errors = [member["test"]["wb97x"][key] for member in found["members"]]
    assert 0 < found["test"]["wb97x"][key] <= sum(errors) / 2 + 1e-6


def test_command_trains_a_committee(quick: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(quick))
    command = ["train", str(config), "ensemble=2", "budget.steps=20"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "Member 2 of 2, seed 1" in result.output
    assert f"next: idle-md export {quick['out']}" in result.output.replace("\n", "")
    assert len(metrics(Path(quick["out"]))["members"]) == 2


def test_misuse(quick: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"one member of `ensemble: 4`: use `train_ensemble`"):
        train(parse_config({**quick, "ensemble": 4}))
    with pytest.raises(ValueError, match=r"ensemble: .*greater than 0"):
        parse_config({**quick, "ensemble": 0})
