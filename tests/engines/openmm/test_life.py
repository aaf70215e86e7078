"""What a System with a model goes through: strain, NPT, several contexts, threads, long runs."""

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from idle_md.deploy import load
from idle_md.engines.edges.room import NO_ROOM
from idle_md.engines.openmm import Attachment, PythonComputation, create_force
from idle_md.testing import CELL
from idle_md.units import KJ_PER_MOL, NM
from tests.engines.openmm.test_force import NUMBERS, POSITIONS, context_of, energy_and_forces


@pytest.fixture(scope="module")
def model(model_file):
    return load(model_file())


def system_of(*forces, n_particles=6, box=None) -> openmm.System:
    system = openmm.System()
    for _ in range(n_particles):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*(box / NM))
    return system


def reference() -> openmm.Platform:
    return openmm.Platform.getPlatformByName("Reference")


def test_strain_of_the_box_gives_the_virial(model, backend) -> None:
    """Every component: a lower triangular strain keeps the box in OpenMM's form."""
    context = context_of(create_force(model, NUMBERS, backend=backend, periodic=True))

    def energy(strain):
        context.setPeriodicBoxVectors(*(CELL @ strain / NM))
        return energy_and_forces(context, POSITIONS @ strain)[0]

    step, found = 1e-4, np.zeros((3, 3))
    for a, b in zip(*np.tril_indices(3), strict=True):
        change = np.zeros((3, 3))
        change[a, b] = step
        found[a, b] = (energy(np.eye(3) + change) - energy(np.eye(3) - change)) / (2 * step)
    species, pairs, vectors = model.inputs(NUMBERS, POSITIONS, CELL, True)
    _, gradients = model.core(species, pairs, vectors, len(NUMBERS))
    expected = (vectors.T @ gradients).numpy()
    np.testing.assert_allclose(expected, expected.T, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(found, np.tril(expected), atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_npt_keeps_a_finite_density(model_file, backend) -> None:
    """5 ps of a box, with a floor under the atoms' distances: the model has random weights."""
    path = model_file(dtype=torch.float32)
    walls = openmm.CustomNonbondedForce("100*(0.2/r)^12")
    walls.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    walls.setCutoffDistance(0.3)
    for _ in NUMBERS:
        walls.addParticle([])
    box, positions = 8.0 * np.eye(3), 2.0 * POSITIONS
    force = create_force(path, NUMBERS, backend=backend, periodic=True)
    barostat = openmm.MonteCarloBarostat(1000.0, 300.0, 10)
    barostat.setRandomNumberSeed(1)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 10.0, 0.001)
    integrator.setRandomNumberSeed(1)
    system = system_of(force, walls, barostat, box=box)
    context = openmm.Context(system, integrator, reference())
    context.setPositions(positions / NM)
    volumes = []
    for _ in range(50):
        integrator.step(100)
        state = context.getState(energy=True)
        volumes.append(state.getPeriodicBoxVolume().value_in_unit(unit.angstrom**3))
        assert np.isfinite(state.getPotentialEnergy()._value)
    assert len(set(volumes)) > 10
    assert 50 < min(volumes) < max(volumes) < 1e6


def trajectory(model, seed, platform=None, steps=60):
    """Positions after some steps of a context of its own."""
    integrator = openmm.VerletIntegrator(0.0005)
    system = system_of(create_force(model, NUMBERS))
    context = openmm.Context(system, integrator, platform or reference())
    context.setPositions(POSITIONS / NM)
    context.setVelocitiesToTemperature(300.0, seed)
    for _ in range(steps // 10):
        integrator.step(10)
    return context.getState(positions=True).getPositions(asNumpy=True)._value


def test_contexts_in_threads_give_the_serial_results(model_file) -> None:
    model = load(model_file())
    serial = [trajectory(model, seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        parallel = list(threads.map(lambda seed: trajectory(model, seed), (1, 2)))
    for a, b in zip(serial, parallel, strict=True):
        assert np.array_equal(a, b)
    assert np.abs(serial[0] - serial[1]).max() > 1e-4


def test_contexts_of_one_system_do_not_share_lists(model, backend) -> None:
    system = system_of(create_force(model, NUMBERS, backend=backend))
    contexts = [
        openmm.Context(system, openmm.VerletIntegrator(0.001), reference()) for _ in range(2)
    ]
    stretched = 1.2 * POSITIONS
    alone = energy_and_forces(contexts[0]), energy_and_forces(contexts[1], stretched)
    again = energy_and_forces(contexts[0]), energy_and_forces(contexts[1], stretched)
    for a, b in zip(alone, again, strict=True):
        assert a[0] == b[0]
        assert np.array_equal(a[1], b[1])


def test_two_models_of_different_elements_in_one_system(model_file, backend) -> None:
    """Each in a force group of its own."""
    first, second = load(model_file()), load(model_file(name="gmnn", seed=3))
    parts = ([0, 1, 4], [2, 3, 5])
    forces = [
        create_force(model, NUMBERS, atoms=atoms, backend=backend)
        for model, atoms in zip((first, second), parts, strict=True)
    ]
    for group, force in enumerate(forces, 1):
        force.setForceGroup(group)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system_of(*forces), integrator, reference())
    _, together = energy_and_forces(context)
    for group, (model, atoms) in enumerate(zip((first, second), parts, strict=True), 1):
        numbers = [NUMBERS[k] for k in atoms]
        energy, expected = model.evaluate(numbers, POSITIONS[atoms])
        state = context.getState(energy=True, groups={group})
        assert state.getPotentialEnergy()._value * KJ_PER_MOL == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(together[atoms], expected, atol=1e-8)


def test_checkpoint_and_state_restore_the_trajectory(model, backend) -> None:
    system = system_of(create_force(model, NUMBERS, backend=backend))

    def start():
        integrator = openmm.VerletIntegrator(0.0005)
        return openmm.Context(system, integrator, reference()), integrator

    context, integrator = start()
    context.setPositions(POSITIONS / NM)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(20)
    checkpoint = context.createCheckpoint()
    state = context.getState(positions=True, velocities=True)
    integrator.step(20)
    expected = context.getState(positions=True).getPositions(asNumpy=True)._value
    for restore in ("loadCheckpoint", "setState"):
        other, integrator = start()
        getattr(other, restore)(checkpoint if restore == "loadCheckpoint" else state)
        integrator.step(20)
        found = other.getState(positions=True).getPositions(asNumpy=True)._value
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("platform", ["CPU", "OpenCL", "CUDA"])
def test_platforms_agree_with_reference(model, backend, platform) -> None:
    names = [
        openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())
    ]
    if platform not in names:
        pytest.skip(f"OpenMM finds no {platform} here: {', '.join(names)}")
    force = create_force(model, NUMBERS, backend=backend, periodic=True)
    system = system_of(force, box=CELL)
    found = []
    for name in ("Reference", platform):
        runs_on = openmm.Platform.getPlatformByName(name)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), runs_on)
        found.append(energy_and_forces(context))
    (energy, forces), (other, other_forces) = found
    assert other == pytest.approx(energy, rel=1e-6)  # positions are float32 there
    np.testing.assert_allclose(other_forces, forces, atol=1e-4 * np.abs(forces).max())


@pytest.mark.parametrize(("neighbors", "kernels"), [("native", "native"), ("vesin", "portable")])
def test_boxes_that_cannot_hold_the_atoms_are_errors(
    neighbors, kernels, model_file, backend
) -> None:
    """As they are set in a Context, or as a barostat makes them; the next good one runs again."""
    model = load(model_file(), kernels=kernels)
    options = {"backend": backend, "periodic": True, "neighbors": neighbors}
    context = context_of(create_force(model, NUMBERS, **options))
    context.setPeriodicBoxVectors(*(CELL / NM))
    energy, _ = energy_and_forces(context)
    for box in (CELL / NM, np.diag([1.0, 1.0, 0.01]), np.diag([30.0, 30.0, 0.004])):
        context.setPeriodicBoxVectors(*(0.1 * box))
        with pytest.raises(openmm.OpenMMException, match=r"cannot hold .*atoms: give the right o"):
            context.getState(energy=True)
    context.setPeriodicBoxVectors(*(CELL / NM))
    assert energy_and_forces(context)[0] == pytest.approx(energy, abs=1e-9)


def resident_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.slow
def test_memory_does_not_grow(model_file, backend) -> None:
    """200,000 steps of 20 atoms; neighbours move past each other by a tiny harmonic pull."""
    rng = np.random.default_rng(0)
    numbers = rng.choice([1, 6, 7, 8], 20).tolist()
    grid = 2.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)[:20]
    tether = openmm.CustomExternalForce("1000*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
    for name in ("x0", "y0", "z0"):
        tether.addPerParticleParameter(name)
    for k, place in enumerate(grid / NM):
        tether.addParticle(k, place)
    force = create_force(model_file(dtype=torch.float32), numbers, backend=backend)
    integrator = openmm.LangevinMiddleIntegrator(600.0, 1.0, 0.0005)
    system = system_of(force, tether, n_particles=20)
    context = openmm.Context(system, integrator, reference())
    context.setPositions(grid / NM)
    integrator.step(5_000)
    gc.collect()
    before = resident_megabytes()
    for _ in range(20):
        integrator.step(10_000)
        assert np.isfinite(context.getState(energy=True).getPotentialEnergy()._value)
    gc.collect()
    assert resident_megabytes() - before < 20


SHARED = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np, openmm
from idle_md.deploy import load
from idle_md.engines.openmm import create_force
from idle_md.units import KJ_PER_MOL, NM

path, backend = sys.argv[1:3]
n_threads, n_each = map(int, sys.argv[3:])
rng, cell = np.random.default_rng(0), 9.0 * np.eye(3)
numbers = rng.choice([1, 6, 7, 8], 40)
grid = np.stack(np.meshgrid(*3 * [np.arange(4)]), -1).reshape(-1, 3)[:40]
platform = openmm.Platform.getPlatformByName("Reference")
portable = load(path, kernels="portable")

def evaluated(context, seed):
    found, rng = [], np.random.default_rng(seed)
    for _ in range(n_each):
        positions = 1.6 * grid + rng.normal(0.0, 0.3, grid.shape)
        context.setPositions(positions / NM)
        state = context.getState(energy=True, forces=True)
        forces = np.array(state.getForces(asNumpy=True)._value) * KJ_PER_MOL / NM
        found.append((positions, state.getPotentialEnergy()._value * KJ_PER_MOL, forces))
    return found

for neighbors, kernels in (
    ("native", "native"), ("torch", "portable"), ("vesin", "portable"), ("vesin", "native")
):
    periodic, system = neighbors != "torch", openmm.System()
    for _ in numbers:
        system.addParticle(12.0)
    system.setDefaultPeriodicBoxVectors(*(cell / NM))
    options = {"periodic": periodic, "neighbors": neighbors, "kernels": kernels}
    system.addForce(create_force(path, numbers, backend=backend, **options))
    contexts = [
        openmm.Context(system, openmm.VerletIntegrator(0.001), platform) for _ in range(n_threads)
    ]
    with ThreadPoolExecutor(n_threads) as threads:
        found = sum(threads.map(evaluated, contexts, range(n_threads)), [])
    worst = 0.0
    for positions, energy, forces in found:
        expected = portable.evaluate(numbers, positions, cell, periodic)
        worst = max(worst, abs(energy - expected[0]), np.abs(forces - expected[1]).max())
    print(neighbors, kernels, len(found), worst)
"""


@pytest.mark.parametrize(
    ("threads", "each"),
    [(4, 25), pytest.param(8, 313, marks=pytest.mark.slow)],  # 20,032 by both backends
)
def test_contexts_of_one_system_in_threads_are_right(threads, each, model_file, backend) -> None:
    """In a process of their own, for threads that share memory can end it."""
    settings = map(str, (model_file(), backend, threads, each))
    command = [sys.executable, "-W", "ignore", "-c", SHARED, *settings]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[2] for row in rows] == 4 * [str(threads * each)]
    assert [row for row in rows if not float(row[3]) < 1e-8] == []


class ListOnGpu:
    """What a module on a GPU does: only the list knows what was wrong, and with the last call."""

    def __init__(self) -> None:
        self.last, self.second = 0, Event()

    def __call__(self, positions):
        problem = self.last = NO_ROOM if positions[0, 0] == 1.0 and not self.has_room else 0
        if problem:
            self.second.wait(timeout=0.3)  # for the other thread to come between
        else:
            self.second.set()
        energy = torch.tensor(float("nan") if problem else 1.0)
        return energy, torch.zeros_like(positions)

    has_room = False

    def problem(self) -> int:
        return self.last

    def make_room(self) -> None:
        self.has_room = True

    def forget(self) -> None:
        """As the graph of :class:`Replayed`."""


def test_another_thread_does_not_hide_what_was_wrong_with_a_list(model, monkeypatch) -> None:
    attachment = Attachment(NUMBERS, list(range(6)), periodic=False)
    computation = PythonComputation(attachment.script(model), model.device, can_be_replayed=True)
    shared = ListOnGpu()
    monkeypatch.setattr("idle_md.engines.openmm.computation.Replayed", ListOnGpu)
    vars(computation).update(module=shared, step=shared)
    context = context_of(create_force(model, NUMBERS))
    states = []
    for first in (1.0, 2.0):
        context.setPositions(np.full((6, 3), first) + POSITIONS * (np.arange(6) > 0)[:, None])
        states.append(context.getState(positions=True))
    with ThreadPoolExecutor(2) as threads:
        energies = [energy for energy, _ in threads.map(computation, states)]
    assert energies == [1.0, 1.0]
    assert "lock" not in computation.__getstate__()
