"""A backbone that an installed package brings, without a reverse pass: the same everywhere."""

import subprocess
import sys

import ase
import numpy as np
import openmm
import pytest
import torch
import yaml

import idle_md
from idle_md.data import load as load_store
from idle_md.deploy import describe, export_checkpoint, extract, load, save
from idle_md.deploy.torchscript import freeze, script
from idle_md.engines.lammps.process import why_not as why_no_lammps
from idle_md.engines.lammps.single_point import evaluate_lammps
from idle_md.engines.openmm import create_force
from idle_md.engines.openmm.backends import why_not
from idle_md.engines.predict import evaluate as predict
from idle_md.nn import BACKBONES, Backbone, backbone_class, backbone_names, load_checkpoint
from idle_md.testing import (
    Invariants,
    Subject,
    calculator_evaluator,
    openmm_evaluator,
    potential_evaluator,
)
from idle_md.train import parse_config
from idle_md.train.errors import errors_of_file
from idle_md.train.fit.callbacks import read_log
from idle_md.units import KJ_PER_MOL, NM
from tests.deploy.test_edge_contract import EDGE_SETS, assert_equal, random_edges
from tests.engines.lammps.systems import SYSTEMS, assert_same
from tests.engines.test_backbones import NUMBERS, POSITIONS, Steps

pytestmark = pytest.mark.usefixtures("toy_backbone")


@pytest.fixture(scope="module", params=["torchforce", "pythonforce"])
def backend(request) -> str:
    problem = why_not("torchforce") if request.param == "torchforce" else None
    if problem is not None:
        pytest.skip(problem)
    return request.param


@pytest.fixture(scope="module")
def run(toy_backbone, tmp_path_factory):
    """A run folder of `idle-md train` in a process of its own."""
    folder = tmp_path_factory.mktemp("toy")
    store = load_store("chno-mini", ["gfn2", "wb97x"])
    store.select(np.flatnonzero(store.group == "methanol")).write(folder / "store.h5")
    settings = {
        "out": str(folder / "run"),
        "target": "wb97x",
        "labels": {"gfn2": ["energy", "forces"], "wb97x": ["energy"]},
        "data": {"store": str(folder / "store.h5"), "split": {"validation": 0.3}},
        "backbone": {"name": toy_backbone, "features": 12, "cutoff": 4.0},
        "batch": {"size": 8},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 5, "ema_decay": 0.9},
        "budget": {"steps": 120, "validate_every": 20},
        "threads": 1,
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "idle_md", "train", str(folder / "toy.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def path(run):
    """The trained model in float64, which all engines run."""
    potential, _ = load_checkpoint(run / "best.ckpt")
    potential.to_precision(torch.float64)
    save(extract(potential, "wb97x"), run / "double.pt", describe(potential, "wb97x"))
    return run / "double.pt"


@pytest.fixture(scope="module")
def model(path):
    return load(path)


def subject_of(model, evaluate) -> Subject:
    return Subject(evaluate, model.metadata.elements, model.metadata.cutoff_angstrom)


class TestPotential(Invariants):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, run, model) -> Subject:
        potential, _ = load_checkpoint(run / "best.ckpt")
        evaluate = potential_evaluator(potential.to_precision(torch.float64), "wb97x")
        return subject_of(model, evaluate)


class TestCalculator(Invariants):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, path, model) -> Subject:
        return subject_of(model, calculator_evaluator(idle_md.Calculator(path)))


class TestForce(Invariants):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, path, model, backend) -> Subject:
        def force(numbers, periodic):
            return create_force(path, numbers, backend=backend, periodic=periodic)

        return subject_of(model, openmm_evaluator(force))


def test_training_lowers_the_errors_and_the_export_has_them(run, tmp_path) -> None:
    rows = read_log(run / "log.csv")
    assert rows[-1]["score"] < 0.85 * rows[0]["score"]
    metadata = export_checkpoint(run / "best.ckpt", None, tmp_path / "model.pt")
    assert metadata.backbone["name"] == "toy"
    assert metadata.interactions == 2
    store = run.parent / "store.h5"
    expected = errors_of_file(run / "best.ckpt", store)["test"]["wb97x"]
    found = errors_of_file(tmp_path / "model.pt", store)["test"]["wb97x"]
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-3), key


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("edges", EDGE_SETS.values(), ids=EDGE_SETS)
def test_every_edge_set_gives_the_gradients_of_the_potential(make_potential, edges, frozen) -> None:
    potential = make_potential(name="toy")
    core = script(extract(potential, "high"))
    for n_owned in (len(edges[0]), 1):
        for _ in range(3 if frozen else 1):  # what is frozen is optimised after two runs
            assert_equal((potential, freeze(core) if frozen else core), edges, n_owned)


@pytest.mark.parametrize("name", BACKBONES)
def test_autograd_gives_what_the_hand_derived_pass_gives(make_potential, name) -> None:
    potential = make_potential(name=name)
    head = potential.heads.folded("high")
    edges = random_edges(7, 60)
    with torch.no_grad():
        expected = potential.backbone.gradient(*head)(*edges, 4)
        found = Backbone.gradient(potential.backbone, *head)(*edges, 4)
    torch.testing.assert_close(found[0], expected[0], rtol=0.0, atol=1e-9)
    torch.testing.assert_close(found[1], expected[1], rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("grad", [False, True])
def test_callers_tensors_are_left_alone(model, grad) -> None:
    core = freeze(model.core)
    species, edge_index, vectors = model.inputs([6, 8, 1], np.eye(3))
    for _ in range(4):
        before = vectors.clone()
        with torch.set_grad_enabled(grad):
            energies, gradients = core(species, edge_index, vectors, 3)
            assert torch.is_grad_enabled() == grad
        assert torch.equal(vectors, before)
        assert not any(each.requires_grad for each in (vectors, energies, gradients))


def test_gradient_mode_survives_an_error(model) -> None:
    species, edge_index, vectors = model.inputs([6, 8, 1], np.eye(3))
    with torch.no_grad(), pytest.raises(RuntimeError):
        model.core(species, edge_index + 5, vectors, 3)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        with pytest.raises(RuntimeError):
            model.core(species, edge_index + 5, vectors, 3)
        assert not torch.is_grad_enabled()


def test_models_know_whether_autograd_runs_in_them(model, model_file) -> None:
    assert model.uses_autograd
    assert model.kernels == "portable"
    assert not any(load(model_file(name=name)).uses_autograd for name in BACKBONES)
    assert not load(model_file(), kernels="portable").uses_autograd


def test_native_kernels_cannot_be_asked_for(path) -> None:
    with pytest.raises(ValueError, match="there are none for toy"):
        load(path, kernels="native")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_minimizer_can_report(model_file, backend, dtype, platform) -> None:
    force = create_force(model_file(name="toy", dtype=dtype), NUMBERS, backend=backend)
    system = openmm.System()
    for _ in NUMBERS:
        system.addParticle(12.0)
    system.addForce(force)
    runs_on = openmm.Platform.getPlatformByName(platform)
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), runs_on)
    context.setPositions(POSITIONS / NM)
    start = context.getState(energy=True).getPotentialEnergy()._value
    reporter = Steps()
    openmm.LocalEnergyMinimizer.minimize(context, reporter=reporter)
    assert reporter.energies[-1] < start - 1.0


def test_a_system_comes_back_from_xml(path, model, backend) -> None:
    system = openmm.System()
    for _ in NUMBERS:
        system.addParticle(12.0)
    system.addForce(create_force(path, [1, 6, 8, 1, 6, 8], backend=backend))
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(again, openmm.VerletIntegrator(0.0005), platform)
    context.setPositions(POSITIONS / NM)
    for _ in range(4):  # a frozen module is optimised after two runs
        context.getState(energy=True, forces=True)
    assert torch.is_grad_enabled()
    found = context.getState(energy=True).getPotentialEnergy()._value * KJ_PER_MOL
    assert found == pytest.approx(model.evaluate([1, 6, 8, 1, 6, 8], POSITIONS)[0], abs=1e-6)


@pytest.mark.skipif(why_no_lammps() is not None, reason=str(why_no_lammps()))
@pytest.mark.parametrize("system", ["molecule", "tiny", "slab"])
@pytest.mark.parametrize(("mode", "ranks"), [("fold", 1), ("ghost", 1), ("ghost", 2)])
def test_lammps_gives_the_same(model_file, system, mode, ranks) -> None:
    path, atoms = model_file(name="toy"), SYSTEMS[system]()
    assert_same(evaluate_lammps(path, atoms, mode, ranks=ranks), load(path), atoms)


def test_batches_give_the_same(model_file) -> None:
    model = load(model_file(name="toy"))
    structures = [SYSTEMS[name]() for name in ("molecule", "tiny", "slab")]
    for atoms, found in zip(structures, predict(model, structures), strict=True):
        system = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
        energy, forces = model.evaluate(*system)
        assert abs(found.energy - energy) <= 1e-9 * len(atoms)
        np.testing.assert_allclose(found.forces, forces, rtol=0, atol=1e-9)


def test_torch_sim_gives_the_same(model_file) -> None:
    torch_sim = pytest.importorskip("torch_sim", reason="torch-sim-atomistic is not installed")
    from idle_md.engines.torch_sim import TorchSimModel

    model = TorchSimModel(model_file(name="toy"))
    structures = [SYSTEMS["skewed"](), SYSTEMS["tiny"]()]
    found = model(torch_sim.io.atoms_to_state(structures, model.device, model.dtype))
    expected = predict(model.model, structures)
    np.testing.assert_allclose(found["energy"], [e.energy for e in expected], rtol=0, atol=1e-8)
    forces = np.concatenate([each.forces for each in expected])
    np.testing.assert_allclose(found["forces"], forces, rtol=0, atol=1e-8)


def test_a_committee_gives_its_mean_and_members(committee_file, make_potential) -> None:
    model = load(committee_file(name="toy"))
    assert model.uses_autograd
    numbers = [6, 8, 1, 1]
    energies, forces = model.evaluate_members(numbers, POSITIONS[:4])
    for k in range(3):
        own = potential_evaluator(make_potential(seed=k, name="toy"), "high")
        [expected] = own([ase.Atoms(numbers, POSITIONS[:4])])
        assert energies[k] == pytest.approx(expected.energy, abs=1e-8)
        np.testing.assert_allclose(forces[k], expected.forces, rtol=0, atol=1e-8)
    energy, mean = model.evaluate(numbers, POSITIONS[:4])
    assert energy == pytest.approx(energies.mean(), abs=1e-8)
    np.testing.assert_allclose(mean, forces.mean(0), rtol=0, atol=1e-9)


SETTINGS = {"out": "run", "target": "a", "labels": {"a": ["energy"]}, "data": {"store": "s"}}


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": "toy", "featurs": 3}, r"backbone\.featurs'.* 'features'"),
        ({"name": "toy", "features": 0}, r"backbone\.features: .*greater than 0"),
        ("tooy", r"'tooy', did you mean 'toy'\? There are painn, hipnn, gmnn, toy"),
    ],
    ids=str,
)
def test_errors_of_its_section_name_the_key(backbone, message) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config({**SETTINGS, "backbone": backbone})


def test_its_defaults_are_those_of_its_section() -> None:
    assert parse_config({**SETTINGS, "backbone": "toy"}).backbone.model_dump() == {
        "name": "toy",
        "cutoff": 5.0,
        "features": 16,
    }


def test_it_is_among_the_backbones() -> None:
    assert backbone_names() == ["painn", "hipnn", "gmnn", "toy"]
    assert backbone_class("toy").__module__ == "toy_backbone"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("json:dumps", "json:dumps, which is no idle_md.nn.Backbone"),
        ("toy_backbone:Toy", "its section of the configuration calls it 'toy'"),
    ],
)
def test_wrong_entry_points_are_named(tmp_path, monkeypatch, value, message) -> None:
    folder = tmp_path / "wrong-1.0.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text(f"[idle_md.backbones]\nother = {value}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=message):
        backbone_class("other")


def test_what_cannot_be_compiled_is_an_error_that_says_so(make_potential) -> None:
    class Untyped(backbone_class("toy")):
        def forward(self, species, edge_index, edge_vectors):
            return super().forward(species, edge_index, [*edge_vectors])

    potential = make_potential(name="toy")
    potential.backbone.__class__ = Untyped
    with pytest.raises(ValueError, match="cannot be compiled to TorchScript"):
        script(extract(potential, "high"))
