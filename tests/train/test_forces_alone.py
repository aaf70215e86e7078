"""A fidelity with forces alone: it is trained on, and its energies are never predicted."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from idle_md.data import Store
from idle_md.deploy import export_checkpoint, extract
from idle_md.nn import load_checkpoint
from idle_md.train import parse_config, train, train_ensemble
from idle_md.train.task import build_task


@pytest.fixture
def forces_alone(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "labels": {"gfn2": ["forces"], "wb97x": ["energy"]}}


@pytest.mark.slow
def test_low_level_forces_improve_high_level_forces(forces_alone: dict[str, Any], tmp_path) -> None:
    """In the mean of three seeds: the checkpoint that few labels choose is a matter of luck."""
    errors: dict[str, list[float]] = {"low": [], "high": [], "alone": []}
    forces_alone["budget"] = {"steps": 700, "validate_every": 25}
    key = "force_mae_mev_per_angstrom"
    for seed in range(3):
        forces_alone |= {"seed": seed, "out": str(tmp_path / f"run-{seed}")}
        run = train(parse_config(forces_alone))
        potential, _ = load_checkpoint(run / "best.ckpt")
        assert not potential.has_energies("gfn2")
        assert potential.has_energies("wb97x")
        metrics = json.loads((run / "metrics.json").read_text())["test"]
        assert metrics["gfn2"]["energy_mae_mev"] is None
        assert metrics["gfn2"]["n_energies"] == 0
        single = {**forces_alone, "method": "single", "out": str(tmp_path / f"single-{seed}")}
        alone = json.loads((train(parse_config(single)) / "metrics.json").read_text())["test"]
        errors["low"].append(metrics["gfn2"][key])
        errors["high"].append(metrics["wb97x"][key])
        errors["alone"].append(alone["wb97x"][key])
    means = {name: np.mean(found) for name, found in errors.items()}
    assert means["low"] < 250
    assert means["high"] < 0.5 * means["alone"]


def test_energies_are_refused(forces_alone: dict[str, Any], tmp_path) -> None:
    forces_alone["budget"] = {"steps": 2, "validate_every": 1}
    run = train(parse_config(forces_alone))
    with pytest.raises(ValueError, match=r"'gfn2' was trained on forces alone.*deploy another"):
        export_checkpoint(run / "best.ckpt", "gfn2", tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()
    potential, _ = load_checkpoint(run / "best.ckpt")
    core = extract(potential, "wb97x")
    assert not torch.isnan(core.constants[potential.backbone.elements]).any()


def test_committee_has_no_errors_of_energies(forces_alone: dict[str, Any]) -> None:
    forces_alone["budget"] = {"steps": 2, "validate_every": 1}
    run = train_ensemble(parse_config(forces_alone), 2)
    low = json.loads((run / "metrics.json").read_text())["test"]["gfn2"]
    assert (low["energy_mae_mev"], low["n_energies"], low["n_forces"]) == (None, 0, 10)


def test_labels_are_counted_and_masked(forces_alone: dict[str, Any]) -> None:
    forces_alone["data"]["budgets"] = {"gfn2": 40, "wb97x": 20}
    task = build_task(parse_config(forces_alone))
    assert task.label_counts["gfn2"]["train"] == {"energy": 0, "forces": 36}
    assert torch.isnan(task.tensors.energies[:, 0]).all()
    assert len(task.stream.others.indices) > 0  # geometries with forces alone are trained on


def test_target_and_transfer_need_energies(settings: dict[str, Any]) -> None:
    target = {**settings, "labels": {"gfn2": ["energy"], "wb97x": ["forces"]}}
    with pytest.raises(ValueError, match=r"labels\.wb97x has no energy"):
        parse_config(target)
    labels = {"gfn2": ["forces"], "wb97x": ["energy"]}
    transfer = {**settings, "labels": labels, "method": {"name": "transfer", "source": "gfn2"}}
    with pytest.raises(ValueError, match="'gfn2', which has no energies in labels"):
        train(parse_config(transfer))


def test_store_without_those_energies_will_do(forces_alone: dict[str, Any], tmp_path) -> None:
    store = Store.read(forces_alone["data"]["store"])
    store.labels["gfn2"].energy[:] = float("nan")
    store.write(tmp_path / "forces.h5")
    forces_alone["data"]["store"] = str(tmp_path / "forces.h5")
    forces_alone["budget"] = {"steps": 2, "validate_every": 1}
    metrics = json.loads((train(parse_config(forces_alone)) / "metrics.json").read_text())
    assert metrics["label_counts"]["gfn2"]["train"]["energy"] == 0
