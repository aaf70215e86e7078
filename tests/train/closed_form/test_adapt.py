"""A new fidelity in closed form: the correction, its distillation, its variance, misuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idle_md.data import GeometryTensors, Store
from idle_md.deploy import export_checkpoint, load
from idle_md.nn import load_checkpoint
from idle_md.train import adapt_config, parse_config, predictive_std, train
from idle_md.train.closed_form.correction import Correction, element_counts, fit_correction
from idle_md.train.errors import errors_of_file
from idle_md.train.prediction import potential_predictor, predict_all
from idle_md.train.stages.closed_form import with_new_head


def adapted(settings: dict[str, Any], pretrained: Path, **changes: Any) -> dict[str, Any]:
    method = {"name": "adapt", "source": "gfn2", "checkpoint": str(pretrained), "steps": 300}
    return {**settings, "method": method, **changes}


@pytest.fixture
def fitted(
    small_store: Path, pretrained: Path
) -> tuple[Correction, GeometryTensors, np.ndarray, np.ndarray]:
    store = Store.read(small_store)
    labelled = np.flatnonzero(store.has_energy("wb97x") & (store.role == "train"))[:30]
    high, low = store.labels_of("wb97x").energy, store.labels_of("gfn2").energy
    differences = (high - low)[labelled]
    potential, _ = load_checkpoint(pretrained)
    tensors = GeometryTensors(store, potential.backbone.cutoff, store.fidelities, torch.float64)
    correction = fit_correction(potential, "gfn2", tensors, labelled, differences)
    return correction, tensors, labelled, differences


def corrections(correction: Correction, tensors: GeometryTensors, indices: np.ndarray):
    batch = tensors.batch(indices)
    with torch.no_grad():
        _, added = correction.atomic(batch, batch.edge_vectors)
    added = added + correction.constants[batch.species]
    return torch.zeros(batch.n_graphs).double().index_add(0, batch.graph_index, added)


def test_correction_is_the_gaussian_process(fitted) -> None:
    correction, tensors, labelled, differences = fitted
    process = correction.process
    found = corrections(correction, tensors, labelled)
    # K alpha + mean = targets - noise alpha, whatever the kernel
    expected = torch.from_numpy(differences) - process.noise * process.alpha
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)
    assert float(process.leave_one_out.abs().mean()) < differences.std()


def test_variance_is_noise_where_labelled_and_more_elsewhere(fitted) -> None:
    correction, tensors, labelled, _ = fitted
    others = np.setdiff1d(np.arange(60), labelled)
    near = correction.variance(tensors, labelled)
    far = correction.variance(tensors, others)
    assert (near >= correction.process.noise).all()
    assert float(near.mean()) < 3 * correction.process.noise + 1e-6
    assert float(far.mean()) > float(near.mean())


def test_element_counts(fitted) -> None:
    correction, tensors, labelled, _ = fitted
    potential = correction._tangent.potential
    counts = element_counts(tensors.batch(labelled), potential.backbone.elements)
    assert counts.sum(1).tolist() == tensors.offsets.diff()[labelled].tolist()


def test_run_gives_an_ordinary_checkpoint(
    settings: dict[str, Any], pretrained: Path, tmp_path: Path
) -> None:
    run = train(parse_config(adapted(settings, pretrained)))
    metrics = json.loads((run / "metrics.json").read_text())
    potential, about = load_checkpoint(run / "best.ckpt")
    assert potential.fidelities == ["gfn2", "wb97x"]
    source, _ = load_checkpoint(pretrained)
    for name, parameter in source.backbone.state_dict().items():
        assert torch.equal(parameter, potential.backbone.state_dict()[name])
    store = Store.read(settings["data"]["store"])
    tensors = GeometryTensors(store, source.backbone.cutoff, ["gfn2"])
    before = predict_all(potential_predictor(source, "gfn2"), tensors)[0]
    after = predict_all(potential_predictor(potential, "gfn2"), tensors)[0]
    np.testing.assert_array_equal(before, after)
    assert about["label_counts"]["wb97x"]["train"]["energy"] == 18
    found = errors_of_file(run / "best.ckpt", settings["data"]["store"])
    assert found["test"]["wb97x"] == pytest.approx(metrics["test"]["wb97x"])
    export_checkpoint(run / "best.ckpt", None, tmp_path / "model.pt")
    assert load(tmp_path / "model.pt").metadata.fidelity == "wb97x"


def test_head_reproduces_the_process(settings: dict[str, Any], pretrained: Path) -> None:
    run = train(parse_config(adapted(settings, pretrained)))
    potential, about = load_checkpoint(run / "best.ckpt")
    made = about["adaptation"]
    store = Store.read(settings["data"]["store"])
    source, _ = load_checkpoint(pretrained)
    tensors = GeometryTensors(store, source.backbone.cutoff, ["gfn2"], torch.float64)
    chosen = np.flatnonzero(store.role == "test")
    single = GeometryTensors(store, source.backbone.cutoff, ["gfn2"])
    low = predict_all(potential_predictor(source, "gfn2"), single, torch.from_numpy(chosen))[0]
    high = predict_all(potential_predictor(potential, "wb97x"), single, torch.from_numpy(chosen))[0]
    labelled_count = len(made["differences"])
    assert labelled_count == 20  # validation labels are fitted too
    store_of = {name: array.numpy() for name, array in made["geometries"].items()}
    positions = store_of["positions"]
    rows = [
        g
        for g in range(store.n_geometries)
        if any(
            np.array_equal(store.positions[store.offsets[g] : store.offsets[g + 1]], positions[a:b])
            for a, b in zip(store_of["offsets"][:-1], store_of["offsets"][1:], strict=True)
            if b - a == store.n_atoms[g]
        )
    ]
    differences = made["differences"].numpy()
    correction = fit_correction(source, "gfn2", tensors, np.array(rows), differences)
    wanted = corrections(correction, tensors, chosen).numpy()
    error = np.abs(high - low - wanted)
    assert error.mean() < 0.1 * np.abs(wanted - wanted.mean()).mean() + 0.01


def test_predictive_std(settings: dict[str, Any], pretrained: Path) -> None:
    run = train(parse_config(adapted(settings, pretrained)))
    store = Store.read(settings["data"]["store"])
    test = store.select(np.flatnonzero(store.role == "test"))
    std = predictive_std(run / "best.ckpt", test)
    assert std.shape == (test.n_geometries,)
    written = json.loads((run / "metrics.json").read_text())["uncertainty"]
    assert written["test"]["mean_std_mev"] == pytest.approx(1e3 * std.mean())
    assert 0.3 < written["test"]["share_within_one_std"] <= 1.0
    assert written["ood"]["n_energies"] == 0
    with pytest.raises(ValueError, match=r"not made by `adapt`.*`ensemble`"):
        predictive_std(pretrained, test)


def test_differences_to_the_model_where_the_base_is_not_labelled(
    settings: dict[str, Any], pretrained: Path
) -> None:
    config = adapted(settings, pretrained, labels={"wb97x": ["energy"]})
    metrics = json.loads((train(parse_config(config)) / "metrics.json").read_text())
    assert set(metrics["test"]) == {"wb97x"}
    labelled = adapted(settings, pretrained, out=settings["out"] + "-labelled")
    paired = json.loads((train(parse_config(labelled)) / "metrics.json").read_text())
    key = "energy_mae_mev"
    assert metrics["test"]["wb97x"][key] != paired["test"]["wb97x"][key]
    assert metrics["test"]["wb97x"][key] < 2.0 * paired["test"]["wb97x"][key]


def test_adapt_config_of_the_command(small_store: Path, pretrained: Path, tmp_path: Path) -> None:
    config = adapt_config(pretrained, str(small_store), "wb97x", tmp_path / "new", labels=16)
    assert config.labels == {"gfn2": ["energy"], "wb97x": ["energy"]}
    assert config.data.split.validation == 0.3  # that of the checkpoint's training
    run = train(config)
    assert len(load_checkpoint(run / "best.ckpt")[1]["adaptation"]["differences"]) == 16


def test_joint_training_starts_from_an_adapted_model(
    settings: dict[str, Any], pretrained: Path
) -> None:
    closed = train(parse_config(adapted(settings, pretrained)))
    method = {"name": "idle", "head": "independent", "start": str(closed / "best.ckpt")}
    short = {"steps": 2, "validate_every": 1}
    still = {**settings["optimizer"], "learning_rate": 1e-12}
    changes = {"method": method, "budget": short, "optimizer": still}
    run = train(parse_config({**settings, **changes, "out": settings["out"] + "-joint"}))
    before = json.loads((closed / "metrics.json").read_text())["test"]["wb97x"]
    after = json.loads((run / "metrics.json").read_text())["test"]["wb97x"]
    for key in ("energy_mae_mev", "force_mae_mev_per_angstrom"):
        assert after[key] == pytest.approx(before[key], rel=1e-3)
    others = {**method, "start": str(pretrained)}
    with pytest.raises(ValueError, match="heads of gfn2, but labels are given of gfn2, wb97x"):
        train(parse_config({**settings, "method": others, "out": settings["out"] + "-other"}))


def test_misuse(settings: dict[str, Any], pretrained: Path) -> None:
    source, _ = load_checkpoint(pretrained)
    with pytest.raises(ValueError, match="has 'gfn2' already"):
        with_new_head(source, "gfn2", "gfn2")
    with pytest.raises(ValueError, match="unknown fidelity 'pm6'"):
        with_new_head(source, "pm6", "wb97x")
    source.reference_energies[:] = torch.nan
    with pytest.raises(ValueError, match="forces of 'gfn2' alone"):
        with_new_head(source, "gfn2", "wb97x")
    forces = {"gfn2": ["energy"], "wb97x": ["energy", "forces"]}
    with pytest.raises(ValueError, match=r"fitted to energies alone.*`wb97x: \[energy\]`"):
        parse_config(adapted(settings, pretrained, labels=forces))
    with pytest.raises(ValueError, match="adapt has none"):
        parse_config(adapted(settings, pretrained, diagnose=2))
    few = {**settings["data"], "budgets": {"wb97x": 3}}
    with pytest.raises(ValueError, match="3 labels are too few"):
        train(parse_config(adapted(settings, pretrained, data=few)))
