"""Models and what runs them in other processes: forked ones, and those that get a pickle."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from operator import methodcaller

import ase.build
import numpy as np
import openmm
import pytest

import idle_md
from idle_md.deploy import load
from idle_md.engines.openmm import create_force
from idle_md.engines.parity.structures import skewed, slab
from idle_md.engines.registry import engines
from idle_md.units import NM

FORKED = """
import multiprocessing, sys
import torch
torch.set_num_threads(2)
import idle_md
from idle_md.engines.parity.structures import grid

atoms = grid((6, 6, 6), 2.2)
model = idle_md.load(sys.argv[1], kernels=sys.argv[2])


def energy(k):
    if sys.argv[3] == "predict":
        return idle_md.predict(model, [atoms])[0].energy
    moved = atoms.copy()
    moved.calc = idle_md.Calculator(model)
    return moved.get_potential_energy()


wanted = energy(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map_async(energy, range(2)).get(60)
assert max(abs(each - wanted) for each in found) < 1e-8 * len(atoms), (found, wanted)
assert torch.get_num_threads() == 2
"""


@pytest.mark.parametrize(
    ("name", "kernels", "how"),
    [
        ("painn", "native", "Calculator"),
        ("painn", "portable", "predict"),
        ("gmnn", "portable", "Calculator"),  # by autograd
    ],
)
def test_forked_processes_do_not_wait_for_threads_of_their_parent(
    name, kernels, how, model_file
) -> None:
    command = [sys.executable, "-c", FORKED, str(model_file(name=name)), kernels, how]
    subprocess.run(command, check=True, timeout=110)


@pytest.mark.parametrize("kernels", ["native", "portable"])
@pytest.mark.parametrize("kind", ["single", "committee"])
def test_calculators_can_be_pickled(kind, kernels, model_file, committee_file) -> None:
    path = model_file() if kind == "single" else committee_file()
    atoms = skewed()
    atoms.calc = idle_md.Calculator(path, kernels=kernels, relative=True)
    atoms.get_potential_energy()
    for made in (
        pickle.loads(pickle.dumps(atoms)).calc,
        copy.deepcopy(atoms).calc,
        copy.copy(atoms.calc),
    ):
        assert made.model.kernels == kernels
        assert made.neighbors is not atoms.calc.neighbors
        for other in (atoms.copy(), slab()):
            other.rattle(0.05, seed=1)
            other.calc = made
            fresh = other.copy()
            fresh.calc = idle_md.Calculator(path, kernels=kernels, relative=True)
            wanted = fresh.get_potential_energy()
            assert other.get_potential_energy() == pytest.approx(wanted, abs=1e-9)
            np.testing.assert_allclose(other.get_forces(), fresh.get_forces(), atol=1e-9)
    assert copy.deepcopy(atoms.calc).model is atoms.calc.model


def test_spawned_processes_and_those_of_dask_evaluate_calculators(model_file) -> None:
    """Atoms go there with their calculator."""
    distributed = pytest.importorskip("distributed", reason="dask's distributed is not installed")
    systems = [skewed(), slab()]
    for atoms in systems:
        atoms.calc = idle_md.Calculator(model_file())
    wanted = [atoms.copy() for atoms in systems]
    for atoms in wanted:
        atoms.calc = idle_md.Calculator(model_file())
    energies = [atoms.get_potential_energy() for atoms in wanted]
    energy = methodcaller("get_potential_energy")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map_async(energy, systems).get(100)
    assert found == pytest.approx(energies, abs=1e-8)
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(processes=True, **settings) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = client.gather(client.map(energy, systems, pure=False))
    assert found == pytest.approx(energies, abs=1e-8)


@pytest.mark.parametrize("engine", engines(ranks=(1, 2)), ids=lambda engine: engine.name)
def test_every_engine_can_be_pickled(engine, model_file) -> None:
    there = pickle.loads(pickle.dumps(engine))
    assert there == engine
    assert there.why_not() == engine.why_not()


def test_systems_can_be_pickled(model_file, backend) -> None:
    atoms = ase.build.molecule("CH3CH2OH")
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    system.addForce(create_force(model_file(), atoms.numbers, backend=backend))
    energies = []
    for each in (system, pickle.loads(pickle.dumps(system)), copy.deepcopy(system)):
        context = openmm.Context(each, openmm.VerletIntegrator(0.001))
        context.setPositions(atoms.positions / NM)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    assert energies == pytest.approx(3 * [energies[0]], abs=1e-5)


def test_pickles_need_no_file_and_no_native_operators(model_file, tmp_path, monkeypatch) -> None:
    path = tmp_path / "moved.pt"
    path.write_bytes(model_file().read_bytes())
    model = load(path)
    pickled = pickle.dumps(model)
    path.unlink()
    monkeypatch.setattr("idle_md.deploy.assembly.why_portable", lambda *_: "not built")
    there = pickle.loads(pickled)
    atoms = ase.build.molecule("CH3CH2OH")
    assert there.kernels == "portable"
    assert there.metadata == model.metadata
    [wanted], [found] = (idle_md.predict(each, [atoms]) for each in (model, there))
    assert found.energy == pytest.approx(wanted.energy, abs=1e-9)


def test_models_that_were_put_together_by_hand_are_not_pickled(model_file) -> None:
    model = load(model_file())
    hand_made = type(model)(model.core, model.metadata, model.device, model.dtype)
    with pytest.raises(TypeError, match=r"pickle one that `idle_md.load` gave"):
        pickle.dumps(hand_made)


def test_torch_sim(model_file) -> None:
    torch_sim = pytest.importorskip("torch_sim", reason="torch-sim-atomistic is not installed")
    from idle_md.engines.torch_sim import TorchSimModel

    model = TorchSimModel(model_file())
    state = torch_sim.io.atoms_to_state([skewed()], model.device, model.dtype)
    wanted = model(state)["energy"]
    for made in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_allclose(made(state)["energy"], wanted, rtol=0, atol=1e-9)
