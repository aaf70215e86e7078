"""A new fidelity in closed form, what learns it, how sure it is, and misuse."""

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

import idle_md
from idle_md.data import GeometryTensors, Labels, Store
from idle_md.deploy import check_use, export_checkpoint, load
from idle_md.nn import PaiNN, levels, load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import adapt_config, parse_config, predictive_std, train, train_ensemble
from idle_md.train.closed_form.adaptation import Adaptation, deviations
from idle_md.train.closed_form.correction import Correction, fit_correction
from idle_md.train.closed_form.teacher import known_level, teacher_labels
from idle_md.train.errors import errors_of_file, errors_of_potential, errors_of_predictor
from idle_md.train.fit.callbacks import read_log
from idle_md.train.prediction import potential_predictor
from idle_md.train.sections import SplitConfig, StudentConfig
from idle_md.train.stages.closed_form import ClosedForm
from idle_md.train.task import build_task, labelled_geometries, relabelled

Settings = dict[str, Any]
BOTH = {"gfn2": ["energy", "forces"], "wb97x": ["energy", "forces"]}


def adapted(settings: Settings, pretrained: Path, steps: int = 60, **changes: Any) -> Settings:
    """Return plain values of a configuration, by the steps of the student."""
    student = {"budget": {"steps": steps, "validate_every": 20}, "learning_rate": 5e-3}
    method = {"name": "adapt", "source": "gfn2", "checkpoint": str(pretrained), "student": student}
    return {**settings, "labels": BOTH, "method": method, **changes}


@pytest.fixture(scope="module")
def run(
    make_settings: Callable[[Path], Settings],
    pretrained: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    settings = make_settings(tmp_path_factory.mktemp("adapted") / "run")
    return train(parse_config(adapted(settings, pretrained)))


@pytest.fixture
def store(small_store: Path) -> Store:
    return Store.read(small_store)


def part(store: Store, role: str) -> Store:
    return store.select(np.flatnonzero((store.role == role) & store.has_energy("wb97x")))


def metrics_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return content


def test_student_is_an_ordinary_model_of_the_target(
    run: Path, pretrained: Path, small_store: Path, tmp_path: Path
) -> None:
    potential, about = load_checkpoint(run / "best.ckpt")
    assert potential.fidelities == ["wb97x"]
    assert about["label_counts"]["wb97x"]["train"]["forces"] > 0
    found = errors_of_file(run / "best.ckpt", small_store)
    metrics = metrics_of(run)
    for name in ("gfn2", "wb97x"):
        assert found["test"][name] == pytest.approx(metrics["test"][name])
    export_checkpoint(run, None, tmp_path / "model.pt")
    assert load(tmp_path / "model.pt").metadata.fidelity == "wb97x"


def test_all_target_labels_are_fitted_whatever_split_they_are_in(run: Path) -> None:
    adaptation = Adaptation.of(load_checkpoint(run / "best.ckpt")[1])
    assert np.isfinite(adaptation.differences.energies).sum() == 20
    counts = metrics_of(run)["label_counts"]["wb97x"]
    assert counts["train"]["energy"] + counts["validation"]["energy"] == 20
    assert counts["validation"]["energy"] > 0


def test_levels_before_are_kept_and_exportable(
    run: Path, pretrained: Path, store: Store, tmp_path: Path
) -> None:
    known = levels(*load_checkpoint(run / "best.ckpt"))
    assert list(known) == ["gfn2", "wb97x"]
    source, _ = load_checkpoint(pretrained)
    for name, parameter in source.state_dict().items():
        assert torch.equal(parameter, known["gfn2"][0].state_dict()[name])
    export_checkpoint(run, "gfn2", tmp_path / "low.pt")
    export_checkpoint(pretrained, "gfn2", tmp_path / "source.pt")
    atoms = store.atoms(0)
    found, expected = (
        load(tmp_path / name).evaluate(atoms.numbers, atoms.positions, None, False)
        for name in ("low.pt", "source.pt")
    )
    assert float(found[0]) == float(expected[0])


def test_student_learns_the_teacher_and_the_teacher_the_labels(
    run: Path, pretrained: Path, store: Store
) -> None:
    test = part(store, "test")
    potential, about = load_checkpoint(run / "best.ckpt")
    adaptation = Adaptation.of(about)
    known = known_level(test, adaptation.base, test.labels_of("gfn2"))
    energies, forces = teacher_labels(known, adaptation.correction(), 4.0)
    true, key = test.labels_of("wb97x"), "force_mae_mev_per_angstrom"
    of_teacher = 1e3 * np.abs(forces - true.forces).mean()
    assert metrics_of(run)["closed_form"]["test"]["live"][key] == pytest.approx(of_teacher)
    low = test.labels_of("gfn2")
    assert of_teacher < 0.6 * 1e3 * np.abs(low.forces - true.forces).mean()
    assert np.abs(energies - true.energy).mean() < 0.05
    taught = Store(**{**vars(test), "labels": {"wb97x": Labels(energies, forces)}})
    missed = errors_of_potential(potential, taught, "wb97x")[0][key]
    source, _ = load_checkpoint(pretrained)
    of_base = errors_of_potential(source, test, "gfn2")[0][key]
    assert missed is not None
    assert of_base is not None
    assert missed < 1.2 * of_base


def test_forces_make_forces_better(run: Path, settings: Settings, pretrained: Path) -> None:
    labels = {"gfn2": ["energy", "forces"], "wb97x": ["energy"]}
    alone = metrics_of(train(parse_config(adapted(settings, pretrained, steps=1, labels=labels))))
    key = "force_mae_mev_per_angstrom"
    found, without = (m["closed_form"]["test"]["live"][key] for m in (metrics_of(run), alone))
    assert found < 0.8 * without
    assert alone["label_counts"]["wb97x"]["train"]["forces"] == 0


def test_forces_alone(settings: Settings, pretrained: Path, run: Path) -> None:
    labels = {"gfn2": ["energy", "forces"], "wb97x": ["forces"]}
    alone = metrics_of(train(parse_config(adapted(settings, pretrained, steps=1, labels=labels))))
    key = "force_mae_mev_per_angstrom"
    expected = metrics_of(run)["closed_form"]["test"]["live"][key]
    assert alone["closed_form"]["test"]["live"][key] < 1.2 * expected


def test_differences_to_the_model_where_the_base_is_not_labelled(
    settings: Settings, pretrained: Path, run: Path
) -> None:
    labels = {"wb97x": ["energy", "forces"]}
    found = metrics_of(train(parse_config(adapted(settings, pretrained, labels=labels))))
    assert set(found["test"]) == {"wb97x"}
    key, paired = "energy_mae_mev", metrics_of(run)
    assert found["test"]["wb97x"][key] != paired["test"]["wb97x"][key]
    assert found["test"]["wb97x"][key] < 2.0 * paired["test"]["wb97x"][key] + 10.0


def test_predictive_std(run: Path, pretrained: Path, store: Store) -> None:
    test = part(store, "test")
    std = predictive_std(run / "best.ckpt", test)
    assert std.energies.shape == (test.n_geometries,)
    assert std.forces.shape == test.positions.shape
    written = metrics_of(run)["uncertainty"]["test"]
    assert written["energies"]["mean_std_mev"] == pytest.approx(1e3 * std.energies.mean(), rel=1e-4)
    assert written["forces"]["mean_std_mev"] == pytest.approx(1e3 * std.forces.mean(), rel=0.2)
    assert written["forces"]["n"] == 6 * test.n_geometries
    assert 0.4 < written["energies"]["share_within_one_std"] <= 1.0
    assert 0.4 < written["forces"]["share_within_one_std"] < 0.95
    with pytest.raises(ValueError, match=r"not made by `adapt`.*`ensemble`"):
        predictive_std(pretrained, test)


def test_closed_form_is_surer_where_there_are_labels(run: Path) -> None:
    adaptation = Adaptation.of(load_checkpoint(run / "best.ckpt")[1])
    assert min(adaptation.missed) > 0
    teacher, known = replace(adaptation, missed=(0.0, 0.0)), adaptation.differences.store
    stretched = Store(**{**vars(known), "positions": 1.15 * known.positions})
    posterior = teacher.posterior()
    near, far = (deviations(teacher, posterior, each) for each in (known, stretched))
    assert near.energies.mean() < 0.5 * far.energies.mean()
    assert near.forces.mean() < 0.8 * far.forces.mean()


@pytest.mark.parametrize("refined", [False, True], ids=["as it is", "refined"])
@pytest.mark.parametrize("base", ["wb97x", "gfn2"])
def test_chain_of_levels(
    run: Path, settings: Settings, tmp_path: Path, base: str, refined: bool
) -> None:
    """On the level that was adapted last, and on one that only a model before it knows."""
    student = {"budget": {"steps": 1}}
    method = {
        "name": "adapt",
        "source": base,
        "checkpoint": str(run / "best.ckpt"),
        "student": student,
    }
    if refined:
        method["refine"] = {"budget": {"steps": 20, "validate_every": 10}}
    changes = {
        "target": "ccsdt",
        "labels": {base: ["energy", "forces"], "ccsdt": ["energy"]},
        "data": {**settings["data"], "budgets": {}},
        "method": method,
    }
    chain = train(parse_config({**settings, **changes}))
    known = levels(*load_checkpoint(chain / "best.ckpt"))
    assert list(known) == ["gfn2", "wb97x", "ccsdt"]
    before = levels(*load_checkpoint(run / "best.ckpt"))
    for level, (model, _) in before.items():
        same = [
            torch.equal(parameter, model.state_dict()[name])
            for name, parameter in known[level][0].state_dict().items()
        ]
        assert all(same) == (not refined or level != base)
    assert set(metrics_of(chain)["test"]) == {base, "ccsdt"}
    adaptation = Adaptation.of(load_checkpoint(chain / "best.ckpt")[1])
    for name, parameter in known[base][0].backbone.state_dict().items():
        assert torch.equal(parameter, adaptation.base.backbone.state_dict()[name])
    about = export_checkpoint(chain, None, tmp_path / "live.pt", closed_form=True)
    assert about.delta_on == base


def kill_when(reached: Callable[[], bool], settings: Settings, tmp_path: Path) -> None:
    """Begin a run in another process and kill it as soon as it came that far."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "idle_md", "train", str(tmp_path / "config.yaml"), "--resume"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not reached():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()


def test_killed_and_resumed_adaptation_ends_with_the_same_student(
    run: Path, settings: Settings, pretrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    plan = adapted(settings, pretrained, out=str(out))
    kill_when(lambda: bool(read_log(out / "log.csv")), plan, tmp_path)
    before = (out / "closed_form.ckpt").read_bytes()
    assert not (out / "metrics.json").exists()
    train(parse_config(plan), resume=True)
    assert (out / "closed_form.ckpt").read_bytes() == before
    found, expected = (metrics_of(each)["test"]["wb97x"] for each in (out, run))
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_killed_and_resumed_in_every_stage(
    settings: Settings, pretrained: Path, tmp_path: Path
) -> None:
    """In the refinement, in the closed form, and in the student: three times in one run."""

    def plan(name: str) -> Settings:
        changes = adapted(settings, pretrained, out=str(tmp_path / name))
        changes["method"]["refine"] = {"budget": {"steps": 60, "validate_every": 10}}
        return changes

    out = tmp_path / "killed"
    refined, fitted, taught = (out / "refine", out / "closed_form.ckpt", out / "metrics.json")
    moments: list[tuple[Callable[[], bool], Path]] = [
        (lambda: bool(read_log(refined / "log.csv")), refined / "metrics.json"),
        ((refined / "metrics.json").is_file, fitted),
        (lambda: bool(read_log(out / "log.csv")), taught),
    ]
    for reached, unfinished in moments:
        kill_when(reached, plan("killed"), tmp_path)
        assert not unfinished.exists()
    train(parse_config(plan("killed")), resume=True)
    expected = metrics_of(train(parse_config(plan("whole"))))["test"]["wb97x"]
    assert metrics_of(out)["test"]["wb97x"] == pytest.approx(expected, rel=1e-6)


def test_refinement_knows_the_data_set_and_forgets_nothing(
    settings: Settings, pretrained: Path, store: Store, tmp_path: Path
) -> None:
    """A model of both molecules goes on with one of them alone, with and without replay."""
    store.select(np.flatnonzero(store.group == "methanol")).write(tmp_path / "methanol.h5")
    other = store.select(np.flatnonzero((store.group == "methylamine") & (store.role == "test")))
    budget = {"steps": 60, "validate_every": 20}
    errors = {}
    for name, replay in (("alone", None), ("replay", settings["data"]["store"])):
        changes = adapted(settings, pretrained, steps=1, out=str(tmp_path / name))
        changes["data"] = {**settings["data"], "store": str(tmp_path / "methanol.h5")}
        changes["method"]["refine"] = {"budget": budget, "replay": replay, "learning_rate": 5e-3}
        run = train(parse_config(changes))
        adaptation = Adaptation.of(load_checkpoint(run / "best.ckpt")[1])
        refined, about = load_checkpoint(run / "refine" / "best.ckpt")
        assert adaptation.base.fidelities == refined.fidelities == ["gfn2"]
        for key, value in adaptation.base.backbone.state_dict().items():
            assert torch.equal(value, refined.backbone.state_dict()[key])
        assert about["config"]["data"]["replay"] == replay
        predictor = potential_predictor(refined, "gfn2")  # of nitrogen too, which `alone` forgets
        found, _ = errors_of_predictor(predictor, other, "gfn2", 4.0, refined.dtype)
        errors[name] = found["force_mae_mev_per_angstrom"]
        known = errors_of_potential(refined, other, "gfn2")[0]["n_forces"]
        assert (known > 0) == (name == "replay")
    before = errors_of_potential(load_checkpoint(pretrained)[0], other, "gfn2")[0]
    assert errors["replay"] < errors["alone"]
    assert errors["replay"] < before["force_mae_mev_per_angstrom"]


@pytest.mark.parametrize("name", ["adapt", "transfer"])
def test_elements_that_the_data_set_lacks_are_unknown_to_the_new_level(
    name: str, settings: Settings, pretrained: Path, store: Store, tmp_path: Path
) -> None:
    """The low level's model knows nitrogen; no label of the new level has told of it."""
    store.select(np.flatnonzero(store.group == "methanol")).write(tmp_path / "methanol.h5")
    stage = {"budget": {"steps": 1}}
    method = {"name": name, "source": "gfn2", "checkpoint": str(pretrained)}
    method["student" if name == "adapt" else "finetune"] = stage
    data = {**settings["data"], "store": str(tmp_path / "methanol.h5")}
    run = train(parse_config({**settings, "labels": BOTH, "data": data, "method": method}))
    known = export_checkpoint(run, None, tmp_path / "model.pt")
    assert known.elements == list(known.reference_energies_ev) == [1, 6, 8]
    with pytest.raises(ValueError, match="does not know N"):
        check_use(load(tmp_path / "model.pt").metadata, [6, 7])
    store.write(tmp_path / "all.h5")
    with pytest.raises(ValueError, match=r"'wb97x' labels of elements .* there: N$"):
        errors_of_file(run / "best.ckpt", tmp_path / "all.h5")
    if name == "adapt":
        assert export_checkpoint(run, "gfn2", tmp_path / "low.pt").elements == [1, 6, 7, 8]
        live = export_checkpoint(run, None, tmp_path / "live.pt", closed_form=True)
        assert live.elements == [1, 6, 8]
        onwards = {**method, "source": "wb97x", "checkpoint": str(run / "best.ckpt")}
        changes: Settings = {
            "out": str(tmp_path / "chain"),
            "target": "ccsdt",
            "labels": {"ccsdt": ["energy"]},
            "data": {**data, "store": str(tmp_path / "all.h5"), "budgets": {}},
            "method": onwards,
        }
        with pytest.raises(ValueError, match="does not know the elements N: it knows H, C, O"):
            train(parse_config({**settings, **changes}))


@pytest.mark.parametrize("exact_rows", [10_000, 0], ids=["exact", "projected"])
def test_correction_is_what_the_regression_says(
    run: Path, exact_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energies and forces along the direction, against features times weights."""
    monkeypatch.setattr("idle_md.train.closed_form.correction.EXACT_ROWS", exact_rows)
    monkeypatch.setattr("idle_md.train.closed_form.correction.KEPT", 600)
    about = load_checkpoint(run / "best.ckpt")[1]
    adaptation = Adaptation.of(about)
    base = adaptation.base.to_precision(torch.float64)
    posterior = fit_correction(base, adaptation.differences, 0, adaptation.prior)
    assert (posterior._features.projection is None) == (exact_rows > 0)
    correction = posterior.correction()
    tensors = GeometryTensors(adaptation.differences.store, 4.0, [], torch.float64)
    off, slopes = [], []
    for one in posterior.observed[:5]:
        batch = tensors.batch([one.geometry])
        _, forces, _ = correction(batch)
        found = -torch.einsum("kni,ni->k", one.displacements, forces)
        rows = posterior._features(batch, one.displacements)[1:].double()
        expected = rows @ posterior._regression.weights
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        off.append((expected - one.slopes).abs())
        slopes.append(one.slopes.abs())
    assert float(torch.cat(off).mean()) < 0.5 * float(torch.cat(slopes).mean())


def test_error_bars_are_those_of_the_fit_whatever_a_later_version_expects(
    run: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    about, some = load_checkpoint(run / "best.ckpt")[1], part(store, "test").select([0, 1])
    expected = predictive_std(run / "best.ckpt", some)
    monkeypatch.setattr(PaiNN, "expected_changes", lambda self: {})
    found = predictive_std(run / "best.ckpt", some)
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5)
    prior = about["closed_form"]["prior"]
    del prior["changes"]  # as in files that do not say it
    with pytest.raises(ValueError, match=r"did not keep which changes.*adapt the model again"):
        Adaptation.of(about).posterior()


def test_every_batch_of_a_student_has_true_labels(settings: Settings, pretrained: Path) -> None:
    config = parse_config(adapted(settings, pretrained))
    stage = config.method.stages(config, RunFolder(config.out))[-1]
    assert isinstance(stage, ClosedForm)
    task = build_task(config)
    nothing = torch.zeros(task.store.n_geometries, dtype=torch.float64)
    forces = torch.zeros(len(task.store.numbers), 3)
    student = relabelled(task, stage.student, nothing, forces)
    true = labelled_geometries(task.tensors)[:, -1]
    for step in range(5):
        share = true[student.stream[step]].mean()
        assert share == pytest.approx(StudentConfig().target_share, abs=0.5 / 40)


def test_members_of_a_committee_are_drawn_from_the_posterior(
    settings: Settings, pretrained: Path, store: Store
) -> None:
    changes = adapted(settings, pretrained, steps=1, ensemble=2)
    run = train_ensemble(parse_config(changes), 2)
    one, other = (
        Adaptation.of(load_checkpoint(run / f"member-{k}" / "best.ckpt")[1]) for k in (0, 1)
    )
    assert one.prior == other.prior
    mean = one.posterior().correction()
    test = part(store, "test").select([0, 1, 2, 3])
    tensors = GeometryTensors(test, 4.0, [])
    batch = tensors.batch(np.arange(4))
    spread = [each.correction()(batch)[1] - mean(batch)[1] for each in (one, other)]
    teacher = replace(one, missed=(0.0, 0.0))
    std = torch.from_numpy(deviations(teacher, one.posterior(), test).forces)
    for each in spread:
        assert 0.5 < float((each / std).square().mean().sqrt()) < 2.0
    assert not torch.equal(*spread)


def test_closed_form_is_exported_as_a_difference(
    run: Path, pretrained: Path, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "live.pt"
    about = export_checkpoint(run, None, path, closed_form=True)
    assert (about.fidelity, about.delta_on, about.dtype) == ("wb97x", "gfn2", "float64")
    live = metrics_of(run)["closed_form"]["test"]["live"]
    assert about.test_errors["test"] == pytest.approx(live)
    model, test = load(path), part(store, "test").select([0, 5, 9])
    adaptation = Adaptation.of(load_checkpoint(run / "best.ckpt")[1])
    base = adaptation.base.to_precision(torch.float64)
    correction = Correction(base, adaptation.direction, adaptation.constants)
    tensors = GeometryTensors(test, 4.0, [], torch.float64)
    expected, forces, _ = correction(tensors.batch([0, 1, 2]))
    low = test.labels_of("gfn2")
    for index in range(3):
        atoms, rows = test.atoms(index), slice(*test.offsets[index : index + 2])
        energy, found = model.evaluate(atoms.numbers, atoms.positions)
        assert energy == pytest.approx(float(expected[index]), abs=1e-6)
        np.testing.assert_allclose(found, forces[rows].numpy(), atol=1e-6)
        labels = {"energy": low.energy[index], "forces": low.forces[rows].astype(float)}
        given = SinglePointCalculator(atoms, **labels)
        atoms.calc = idle_md.Calculator(path, low_level=given)
        assert atoms.get_potential_energy() == pytest.approx(energy + labels["energy"])
        np.testing.assert_allclose(atoms.get_forces(), found + labels["forces"])
    with pytest.raises(ValueError, match="double precision alone"):
        load(path, dtype=torch.float32)
    with pytest.raises(ValueError, match="difference between wb97x and a live gfn2"):
        model.check_complete()
    with pytest.raises(ValueError, match="no closed form of 'gfn2'"):
        export_checkpoint(pretrained, None, path, closed_form=True)


def test_student_of_another_size(settings: Settings, pretrained: Path) -> None:
    changes = adapted(settings, pretrained, steps=1)
    changes["method"]["student"]["features"] = 24
    found = train(parse_config(changes))
    potential, _ = load_checkpoint(found / "best.ckpt")
    assert potential.backbone.config.features == 24
    assert load_checkpoint(pretrained)[0].backbone.config.features == 16


def test_backbone_without_such_a_width(settings: Settings, tmp_path: Path) -> None:
    low = {"target": "gfn2", "labels": {"gfn2": ["energy", "forces"]}, "method": "single"}
    changes = {
        "out": str(tmp_path / "low"),
        "data": {**settings["data"], "budgets": {}},
        "backbone": {"name": "gmnn", "layers": [8], "cutoff": 4.0, "n_radial": 3},
        "head_hidden": 0,
        "budget": {"steps": 1, "validate_every": 1},
    }
    base = train(parse_config({**settings, **low, **changes})) / "best.ckpt"
    wider = adapted(settings, base)
    wider["method"]["student"]["features"] = 24
    with pytest.raises(ValueError, match=r"student\.features: gmnn has no such size"):
        train(parse_config(wider))


def test_adapt_config_of_the_command(small_store: Path, pretrained: Path, tmp_path: Path) -> None:
    config = adapt_config(pretrained, str(small_store), "wb97x", tmp_path / "new", labels=16)
    assert config.labels == BOTH
    assert config.data.split.validation == 0.3  # that of the checkpoint's training
    student = {"budget": {"minutes": 0.5}}
    short = adapt_config(pretrained, str(small_store), "wb97x", tmp_path / "new", student=student)
    assert short.method.student.budget.minutes == 0.5
    assert short.method.student.budget.steps is None
    store = Store.read(small_store)
    labels = store.labels_of("wb97x")
    hidden = Labels(np.full_like(labels.energy, np.nan), labels.forces)
    replace(store, labels={**store.labels, "wb97x": hidden}).write(tmp_path / "forces.h5")
    alone = adapt_config(pretrained, str(tmp_path / "forces.h5"), "wb97x", tmp_path / "new")
    assert alone.labels["wb97x"] == ["forces"]
    assert alone.data.split == SplitConfig()  # another data set


def test_what_was_fitted_is_told(settings: Settings, pretrained: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    labels = {"gfn2": ["energy", "forces"], "wb97x": ["energy"]}
    train(parse_config(adapted(settings, pretrained, steps=1, labels=labels)), console=console)
    [told] = [line for line in console.file.getvalue().splitlines() if "fitted" in line]
    assert re.fullmatch(r"20 energies fitted; .* left out: \d+\.\d meV; noise \d+\.\d meV", told)


def test_a_level_is_made_anew_from_the_one_below(
    run: Path, settings: Settings, pretrained: Path
) -> None:
    changes = adapted(settings, run / "best.ckpt", steps=1)
    again = train(parse_config(changes)) / "best.ckpt"
    known = levels(*load_checkpoint(again))
    assert list(known) == ["gfn2", "wb97x"]
    kept, before = known["gfn2"][0].state_dict(), load_checkpoint(pretrained)[0].state_dict()
    assert all(torch.equal(kept[name], value) for name, value in before.items())
    first, second = (Adaptation.of(load_checkpoint(each)[1]) for each in (run / "best.ckpt", again))
    torch.testing.assert_close(second.direction, first.direction)


def test_joint_training_starts_from_an_adapted_model(
    run: Path, settings: Settings, pretrained: Path
) -> None:
    method = {"name": "idle", "head": "independent", "start": str(run / "best.ckpt")}
    short = {"steps": 2, "validate_every": 1}
    still = {**settings["optimizer"], "learning_rate": 1e-12}
    changes = {"method": method, "budget": short, "optimizer": still}
    joint = train(parse_config({**settings, **changes}))
    before, after = (metrics_of(each)["test"]["wb97x"] for each in (run, joint))
    for key in ("energy_mae_mev", "force_mae_mev_per_angstrom"):
        assert after[key] == pytest.approx(before[key], rel=1e-3)
    assert load_checkpoint(joint / "best.ckpt")[0].fidelities == ["gfn2", "wb97x"]
    others = {**method, "start": str(pretrained)}
    with pytest.raises(ValueError, match="heads of gfn2, but labels are given of gfn2, wb97x"):
        train(parse_config({**settings, "method": others, "out": settings["out"] + "-other"}))


def test_elements_that_no_label_tells_of(
    settings: Settings, pretrained: Path, store: Store, tmp_path: Path
) -> None:
    labels = store.labels_of("wb97x")
    unlabelled = labels.energy.copy()
    unlabelled[np.add.reduceat(store.numbers == 7, store.offsets[:-1]) > 0] = np.nan
    part = replace(store, labels={**store.labels, "wb97x": Labels(unlabelled, labels.forces)})
    part.write(tmp_path / "part.h5")
    data = {**settings["data"], "store": str(tmp_path / "part.h5")}
    with pytest.raises(ValueError, match="geometries with N, and none of those with a 'wb97x'"):
        train(parse_config(adapted(settings, pretrained, data=data)))


def test_misuse(settings: Settings, pretrained: Path) -> None:
    def refuses(message: str, **changes: Any) -> None:
        with pytest.raises(ValueError, match=message):
            train(parse_config(adapted(settings, pretrained, **changes)))

    method = adapted(settings, pretrained)["method"]
    data = {**settings["data"], "budgets": {}}
    refuses("unknown fidelity 'pm6'", method={**method, "source": "pm6"})
    same = {"target": "gfn2", "labels": {"gfn2": ["energy"]}, "data": data}
    refuses("has 'gfn2' already", out=settings["out"] + "-same", **same)
    refuses("adapt has none", diagnose=2, out=settings["out"] + "-diagnosed")
    energies = {"gfn2": ["energy", "forces"], "wb97x": ["energy"]}
    few = {**settings["data"], "budgets": {"wb97x": 3}}
    refuses("3 labels are too few", labels=energies, data=few, out=settings["out"] + "-few")
