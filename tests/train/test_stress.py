"""Stress: the energy's derivative by strain, and what is learned from labels of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.md.nptberendsen import NPTBerendsen
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.stress import full_3x3_to_voigt_6_stress
from rich.console import Console
from typer.testing import CliRunner

import idle_md
from idle_md.cli.main import app
from idle_md.data import Batch, GeometryTensors, Labels, Store, from_atoms, join, load
from idle_md.nn import BACKBONES, Potential, load_checkpoint
from idle_md.train import parse_config, train
from idle_md.train.errors import errors_of_file, errors_of_potential
from idle_md.train.loss import Objective, Weights
from idle_md.train.prediction import (
    committee_predictor,
    potential_predictor,
    predict,
    predict_all,
)
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import build_task

GPA = 0.00624150907


def crystals(count: int, seed: int, rattle: float = 0.1) -> list[Atoms]:
    """Boxes of eight argon atoms, strained by up to six per cent."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = bulk("Ar", "fcc", a=5.3, cubic=True).repeat((2, 1, 1))
        strain = rng.uniform(-0.06, 0.06, (3, 3))
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.positions += rattle * rng.normal(size=atoms.positions.shape)
        images.append(atoms)
    return images


def lennard_jones() -> LennardJones:
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=6.0, ro=5.0, smooth=True)


def labelled(images: list[Atoms], role: str) -> Store:
    energies, forces, stresses = [], [], []
    for atoms in images:
        atoms.calc = lennard_jones()
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stresses.append(atoms.get_stress())
    store = from_atoms(images, ["argon"] * len(images), role)
    labels = Labels(
        np.array(energies), np.concatenate(forces).astype(np.float32), np.array(stresses)
    )
    return replace(store, labels={"lj": labels})


@pytest.fixture(scope="module")
def argon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("argon") / "argon.h5"
    parts = {"train": 28, "test": 8}
    join([labelled(crystals(n, n), role) for role, n in parts.items()]).write(path)
    return path


def configured(argon: Path, out: Path, kinds: list[str], **more: Any) -> dict[str, Any]:
    return {
        "out": str(out),
        "target": "lj",
        "method": "single",
        "labels": {"lj": kinds},
        "data": {"store": str(argon), "split": {"validation": 0.15}},
        "backbone": {"features": 16, "interactions": 1, "cutoff": 6.0, "n_radial": 8},
        "head_hidden": 8,
        "batch": {"size": 8},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 5, "ema_decay": 0.9},
        "budget": {"steps": 250, "validate_every": 50},
        "threads": 1,
        **more,
    }


@pytest.fixture(scope="module")
def trained(argon: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "stress"
    return train(parse_config(configured(argon, out, ["energy", "stress"])))


def strained(batch: Batch, cell_strain: np.ndarray) -> Batch:
    deformation = torch.eye(3, dtype=torch.float64) + torch.from_numpy(cell_strain)
    return replace(
        batch, positions=batch.positions @ deformation, shifts=batch.shifts @ deformation
    )


def some_batch(potential: Potential, with_molecule: bool = False) -> Batch:
    stores = [labelled(crystals(2, 5, rattle=0.2), "")]
    for store in stores:
        store.numbers[:] = np.resize([1, 6, 8, 7, 8], len(store.numbers))
    if with_molecule:
        stores.append(replace(load("chno-mini", ["gfn2"]).select([3000]), labels={}))
    tensors = GeometryTensors(join(stores), potential.backbone.cutoff, ["lj"], torch.float64)
    return tensors.batch(np.arange(len(tensors)))


@pytest.mark.parametrize("name", [*BACKBONES, "toy"])
@pytest.mark.usefixtures("toy_backbone")
def test_stress_is_the_derivative_of_the_energy_by_strain(make_potential, name) -> None:
    potential = make_potential(name=name)
    batch = some_batch(potential)
    found = predict(potential, batch, [], [1]).stresses[1]
    step, wanted = 1e-4, np.zeros((2, 3, 3))
    for a in range(3):
        for b in range(3):
            unit = np.zeros((3, 3))
            unit[a, b] += 0.5 * step
            unit[b, a] += 0.5 * step
            ends = [predict(potential, strained(batch, s * unit), []).energies for s in (1, -1)]
            wanted[:, a, b] = (ends[0] - ends[1])[:, 1].detach().numpy() / (2 * step)
    wanted = full_3x3_to_voigt_6_stress(wanted / batch.volumes.numpy()[:, None, None])
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_loss_of_stress_is_differentiated_to_the_parameters(make_potential, name) -> None:
    potential = make_potential(name=name, correction=False, fidelities=("high",))
    batch = some_batch(potential)
    objective = Objective({0: Weights(0.0, 0.0, 1.0)}, {})
    loss, _ = objective(potential, batch)
    parameters = [p for p in potential.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(loss, parameters, materialize_grads=True)
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    expected = sum(float((s * d).sum()) for s, d in zip(slopes, direction, strict=True))
    ends, step = [], 1e-5
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, moved in zip(parameters, direction, strict=True):
                parameter += sign * step * moved
        ends.append(float(objective(potential, batch)[0].detach()))
    assert abs(expected) > 1e-3
    assert expected == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def test_molecules_beside_crystals_have_no_stress_and_leave_gradients_finite(
    make_potential,
) -> None:
    potential = make_potential()
    batch = some_batch(potential, with_molecule=True)
    assert torch.isinf(batch.volumes).tolist() == [False, False, True]
    found = predict(potential, batch, [], [0], create_graph=True).stresses[0]
    assert found[2].abs().max() == 0
    loss, _ = Objective({0: Weights(0.0, 1.0, 1.0)}, {})(potential, batch)
    loss.backward()
    grads = [p.grad for p in potential.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(each).all()) for each in grads)


def test_loss_of_stress_equals_a_loop(make_potential) -> None:
    potential = make_potential(fidelities=("high",))
    batch = some_batch(potential)
    loss, _ = Objective({0: Weights(0.0, 0.0, 2.0)}, {})(potential, batch)
    found = predict(potential, batch, [], [0]).stresses[0]
    virials = (found - batch.stresses[:, 0]) * batch.volumes[:, None] / 8**0.5
    huber = torch.where(virials.abs() < 0.2, virials**2 / 0.4, virials.abs() - 0.1)
    assert loss.item() == pytest.approx(2.0 * huber.mean().item(), rel=1e-9)
    batch.stresses[0] = torch.nan
    loss, _ = Objective({0: Weights(0.0, 0.0, 2.0)}, {})(potential, batch)
    assert loss.item() == pytest.approx(2.0 * huber[1].mean().item(), rel=1e-9)


def test_stress_labels_are_learned(argon: Path, trained: Path, tmp_path: Path) -> None:
    with_stress = json.loads((trained / "metrics.json").read_text())["test"]["lj"]
    alone = train(parse_config(configured(argon, tmp_path / "alone", ["energy"])))
    without = json.loads((alone / "metrics.json").read_text())["test"]["lj"]
    task = build_task(parse_config(configured(argon, tmp_path, ["energy", "stress"])))
    test = task.store.select(task.splits["test"])
    untrained = errors_of_potential(untrained_potential(task), test, "lj")[0]
    assert with_stress["n_stress"] == without["n_stress"] == 8
    assert with_stress["stress_mae_gpa"] < untrained["stress_mae_gpa"] / 5
    assert with_stress["stress_mae_gpa"] < without["stress_mae_gpa"] / 2
    rows = (trained / "log.csv").read_text().splitlines()
    assert "lj_stress_mae_gpa" in rows[0].split(",")
    assert "lj_stress_mae_gpa" not in (alone / "log.csv").read_text()


def test_every_table_of_errors_has_the_stress(argon: Path, trained: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    idle_md.export(trained, None, model)
    metrics = json.loads((trained / "metrics.json").read_text())
    error = metrics["test"]["lj"]["stress_mae_gpa"]
    assert metrics["label_counts"]["lj"]["train"] == {"energy": 24, "forces": 0, "stress": 24}
    found = errors_of_file(model, str(argon), roles=["test"])["test"]["lj"]
    assert found["stress_mae_gpa"] == pytest.approx(error, rel=1e-3)
    test = load(str(argon))
    test = test.select(np.flatnonzero(test.role == "test"))
    predicted = idle_md.predict(model, [test.atoms(k) for k in range(test.n_geometries)])
    by_engine = np.array([each.stress for each in predicted]) - test.labels["lj"].stress
    assert np.abs(by_engine).mean() / GPA == pytest.approx(error, rel=1e-3)
    runner = CliRunner()
    for command in (["evaluate", str(model), str(argon)], ["info", str(model)]):
        printed = runner.invoke(app, command)
        assert printed.exit_code == 0, printed.output
        assert "stress, GPa" in printed.output
        assert f"{error:.4f}" in printed.output
    assert "stresses" in runner.invoke(app, ["info", str(model)]).output
    page = runner.invoke(app, ["report", str(trained)])
    assert page.exit_code == 0, page.output
    html = (trained / "report.html").read_text()
    assert f"{error:.4f}" in html
    assert "validation stress MAE, GPa" in html


def test_a_committee_and_a_difference_have_stresses(make_potential, argon: Path) -> None:
    store = load(str(argon)).select([0, 1])
    store.numbers[:] = np.resize([1, 6, 8, 7], len(store.numbers))
    tensors = GeometryTensors(store, 4.0, ["lj"], torch.float64)
    potentials = [make_potential(seed=k) for k in range(2)]
    found = [predict_all(potential_predictor(each, "high"), tensors)[2] for each in potentials]
    assert np.abs(found[0]).max() > 1e-4
    mean = predict_all(committee_predictor(potentials, "high"), tensors)[2]
    np.testing.assert_allclose(mean, np.mean(found, axis=0), rtol=0, atol=1e-12)


def test_transfer_and_idle_train_on_stress(argon: Path, tmp_path: Path) -> None:
    store = load(str(argon))
    low = store.labels["lj"]
    low = Labels(1.2 * low.energy, np.float32(1.2) * low.forces, 1.2 * low.stress)
    both = tmp_path / "both.h5"
    replace(store, labels={"low": low, **store.labels}).write(both)
    kinds = ["energy", "stress"]
    short = {"labels": {"low": kinds, "lj": kinds}, "budget": {"steps": 4, "validate_every": 2}}
    finetune = {"budget": {"steps": 4, "validate_every": 2}}
    for method in (
        {"name": "transfer", "source": "low", "finetune": finetune},
        {"name": "idle"},
        {"name": "delta", "low_level": "low"},
    ):
        out = tmp_path / method["name"]
        plain = configured(both, out, kinds, method=method, **short)
        metrics = json.loads((train(parse_config(plain)) / "metrics.json").read_text())
        assert metrics["test"]["lj"]["stress_mae_gpa"] is not None
        assert metrics["label_counts"]["lj"]["train"]["stress"] == 24
        _, about = load_checkpoint(out / "best.ckpt")
        assert about["label_counts"]["lj"]["validation"]["stress"] == 4


def test_what_does_not_use_stress_says_so(argon: Path, tmp_path: Path) -> None:
    plain = configured(argon, tmp_path / "run", ["energy", "stress"])
    adapt = {"name": "adapt", "source": "low", "checkpoint": "any.ckpt"}
    with pytest.raises(ValueError, match=r"adapt uses energies and forces .* no stress: remove"):
        parse_config({**plain, "method": adapt})
    console = Console(record=True, width=300)
    unused = {"budget": {"steps": 2, "validate_every": 2}, "labels": {"lj": ["energy"]}}
    train(parse_config({**plain, **unused}), console=console)
    assert (
        "36 stresses of 'lj' are not trained on: add `stress` to labels.lj" in console.export_text()
    )


def test_stress_that_is_not_there_is_an_error(settings: dict[str, Any]) -> None:
    wrong = {**settings, "labels": {"wb97x": ["energy", "stress"]}, "method": "single"}
    with pytest.raises(ValueError, match=r"has no stress of 'wb97x'"):
        build_task(parse_config(wrong))


@pytest.mark.slow
def test_density_at_constant_pressure_is_that_of_the_labels_own_potential(
    argon: Path, tmp_path: Path
) -> None:
    kinds = ["energy", "forces", "stress"]
    budget = {"steps": 2000, "validate_every": 200}
    model = tmp_path / "model.pt"
    out = train(parse_config(configured(argon, tmp_path / "run", kinds, budget=budget)))
    idle_md.export(out, None, model)
    volumes = [mean_volume(each) for each in (lennard_jones(), idle_md.Calculator(model))]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.02)


def mean_volume(calculator: Any) -> float:
    """Mean volume of 32 atoms at 20 K and 0.2 GPa, by Berendsen's barostat after 4 ps."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(2)
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=40, rng=np.random.default_rng(0))
    dynamics = NPTBerendsen(
        atoms,
        timestep=4 * units.fs,
        temperature_K=20,
        pressure_au=0.2 * units.GPa,
        taut=200 * units.fs,
        taup=400 * units.fs,
        compressibility_au=0.3 / units.GPa,
    )
    dynamics.run(1000)
    found = []
    dynamics.attach(lambda: found.append(atoms.get_volume()), interval=10)
    dynamics.run(2000)
    return float(np.mean(found))
