"""Methods that train twice, and explicit delta learning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idle_md.data import Store
from idle_md.data.difference import difference
from idle_md.nn import Potential, load_checkpoint
from idle_md.nn.parameter_groups import parameter_groups
from idle_md.train import parse_config, train
from idle_md.train.errors import errors_of_file
from idle_md.train.methods.parts import on_target
from idle_md.train.prediction import potential_predictor, predict_all
from idle_md.train.sections import FinetuneConfig
from idle_md.train.stages.finetune import finetuning_start, parameter_rates
from idle_md.train.task import Task, build_task

FINETUNE = {"budget": {"steps": 40, "validate_every": 10}, "learning_rate": 1e-3}


def transfer(settings: dict[str, Any], **finetune: Any) -> dict[str, Any]:
    method = {"name": "transfer", "source": "gfn2", "finetune": {**FINETUNE, **finetune}}
    return {**settings, "method": method}


def started(
    settings: dict[str, Any], pretrained: Path, **finetune: Any
) -> tuple[Task, Potential, dict[str, float]]:
    config = parse_config(transfer(settings, **finetune))
    task = build_task(on_target(config, config.method.finetune))
    source, _ = load_checkpoint(pretrained)
    potential = finetuning_start(task, source, "gfn2", config.method.finetune)
    return task, potential, parameter_rates(potential, config.method.finetune)


def test_copied_head_starts_as_the_source_plus_a_shift(
    settings: dict[str, Any], pretrained: Path
) -> None:
    task, potential, _ = started(settings, pretrained)
    source, _ = load_checkpoint(pretrained)
    energies, forces, _ = predict_all(potential_predictor(potential, "wb97x"), task.tensors)
    before, forces_before, _ = predict_all(potential_predictor(source, "gfn2"), task.tensors)
    counts = task.store.element_counts(source.backbone.elements)
    shift = (potential.reference_energies - source.reference_energies)[source.backbone.elements, 0]
    np.testing.assert_allclose(energies - before, counts @ shift.numpy(), atol=1e-6)
    np.testing.assert_allclose(forces, forces_before, atol=1e-5)
    labels = task.tensors.energies[:, 0].numpy()
    seen = ~np.isnan(labels) & np.isin(np.arange(len(labels)), task.splits["train"])
    residual = (labels - energies)[seen]
    assert np.abs(counts[seen].T @ residual).max() < 1e-4  # least squares: nothing left to fit


def test_frozen_groups_stay_bit_identical(settings: dict[str, Any], pretrained: Path) -> None:
    method = transfer(settings, rates={"embedding": 0, "interaction_1": 0, "readout": 0.5})
    method["method"]["checkpoint"] = str(pretrained)
    run = train(parse_config(method))
    before = parameter_groups(started(settings, pretrained)[1])
    after = parameter_groups(load_checkpoint(run / "best.ckpt")[0])
    changed = {
        name: any(not torch.equal(a, b) for a, b in zip(after[name], before[name], strict=True))
        for name in before
    }
    assert changed == {
        "embedding": False,
        "interaction_1": False,
        "interaction_2": True,
        "readout": True,
        "scale_shift": False,
    }


def test_rates_and_reset_act_on_named_groups(settings: dict[str, Any], pretrained: Path) -> None:
    _, potential, rates = started(
        settings, pretrained, rates={"interaction_2": 0.1, "scale_shift": 2.0}, reset=["readout"]
    )
    groups = parameter_groups(potential)
    assert all(parameter.requires_grad for parameter in groups["scale_shift"])
    assert (rates["interaction_2"], rates["scale_shift"]) == (0.1, 2.0)
    assert rates["embedding"] == 1.0
    copied = parameter_groups(started(settings, pretrained)[1])
    assert not torch.equal(groups["readout"][0], copied["readout"][0])
    assert torch.equal(groups["embedding"][0], copied["embedding"][0])


def test_new_head(settings: dict[str, Any], pretrained: Path) -> None:
    _, new, _ = started(settings, pretrained, head="new")
    _, copied, _ = started(settings, pretrained)
    for name, same in (("embedding", True), ("interaction_2", True), ("readout", False)):
        pair = (parameter_groups(potential)[name][0] for potential in (new, copied))
        assert torch.equal(*pair) is same


def test_transfer_trains_twice_and_resumes_between(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_config(transfer(settings))
    run = train(config)
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["test"]) == {"wb97x"}
    assert set(json.loads((run / "pretrain/metrics.json").read_text())["test"]) == {"gfn2"}
    (run / "metrics.json").unlink()
    before = (run / "pretrain/best.ckpt").stat().st_mtime_ns
    train(config, resume=True)
    assert (run / "pretrain/best.ckpt").stat().st_mtime_ns == before
    assert json.loads((run / "metrics.json").read_text())["test"] == metrics["test"]


def test_idle_and_finetune_starts_from_the_joint_model(settings: dict[str, Any]) -> None:
    finetune = {**FINETUNE, "budget": {"steps": 1, "validate_every": 1}, "learning_rate": 1e-12}
    settings["method"] = {"name": "idle", "finetune": finetune}
    run = train(parse_config(settings))
    joint = json.loads((run / "pretrain/metrics.json").read_text())["test"]["wb97x"]
    tuned = json.loads((run / "metrics.json").read_text())["test"]["wb97x"]
    key = "force_mae_mev_per_angstrom"
    assert tuned[key] == pytest.approx(joint[key], rel=1e-4)


def test_delta_learns_the_difference(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["method"] = {"name": "delta", "low_level": "gfn2"}
    settings["labels"] = {"wb97x": ["energy", "forces"]}
    run = train(parse_config(settings))
    found = errors_of_file(run / "best.ckpt", settings["data"]["store"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["wb97x"] == pytest.approx(found["test"]["wb97x"])
    store = Store.read(settings["data"]["store"])
    labels = difference(store, "wb97x", "gfn2").labels_of("wb97x")
    known = ~np.isnan(labels.energy)
    total = labels.energy[known] + store.labels_of("gfn2").energy[known]
    np.testing.assert_allclose(total, store.labels_of("wb97x").energy[known])
    assert load_checkpoint(run / "best.ckpt")[1]["delta_on"] == "gfn2"
    assert metrics["test"]["wb97x"]["force_mae_mev_per_angstrom"] < 300


def test_misuse(settings: dict[str, Any], pretrained: Path, small_store: Path) -> None:
    without = {**transfer(settings), "labels": {"wb97x": ["energy"]}}
    with pytest.raises(ValueError, match=r"method\.source is 'gfn2'.*set `gfn2:"):
        train(parse_config(without))
    with pytest.raises(ValueError, match=r"unknown parameter group 'embeding'.*'embedding'"):
        started(settings, pretrained, rates={"embeding": 0})
    task, potential, _ = started(settings, pretrained)
    with pytest.raises(ValueError, match="unknown fidelity 'ccsd'"):
        finetuning_start(task, potential, "ccsd", FinetuneConfig())
    with pytest.raises(ValueError, match="are both 'gfn2'"):
        difference(Store.read(small_store), "gfn2", "gfn2")
    with pytest.raises(ValueError, match=r"method\.low_level and target are both 'wb97x'"):
        parse_config({**settings, "method": {"name": "delta", "low_level": "wb97x"}})
    with pytest.raises(ValueError, match=r"method\.finetune\.rate.*did you mean 'rates'"):
        parse_config(transfer(settings, rate={}))
