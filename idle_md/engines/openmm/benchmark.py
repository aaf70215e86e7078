"""How fast a deployed model runs in OpenMM, by every way that there is to run it."""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.build
import numpy as np
import openmm
import torch
from openmm import unit

from idle_md.deploy import DeployedModel, describe, extract, load, save
from idle_md.deploy.gate import check_elements
from idle_md.deploy.kernels import Kernels
from idle_md.deploy.timing import compare_inference
from idle_md.engines.benchmark import Report, Timing
from idle_md.engines.choices import Backend
from idle_md.engines.edges.choice import Neighbors
from idle_md.engines.openmm.engine import BACKENDS, OpenMMEngine
from idle_md.engines.openmm.force import create_force
from idle_md.engines.openmm.system import find_platform, standard_form
from idle_md.engines.results import ns_per_day
from idle_md.memory import keep_freed_memory
from idle_md.nn import Potential
from idle_md.nn.registry import backbone_of

LEAST_TURNS, WARM_UP, REPEATS = 5, 3, 100
SAMPLE_SECONDS = 0.02
GAP = 2.0
"""angstrom between molecules of ethanol."""
TEMPERATURE_K = 300.0


class Options(NamedTuple):
    """How OpenMM is asked to run a model."""

    platform: str
    backend: Backend
    kernels: Kernels
    neighbors: Neighbors


Runs = dict[Any, Callable[[int], None]]
"""By key, what runs a number of steps or evaluations."""


def bench_openmm(
    path: str | Path,
    atoms: ase.Atoms,
    *,
    platforms: Sequence[str] | None = None,
    backends: Sequence[Backend] = BACKENDS,
    kernels: Sequence[Kernels] = ("native", "portable"),
    neighbors: Sequence[Neighbors] = ("native", "vesin", "torch", "nnpops"),
    timestep_fs: float = 0.5,
    seconds: float = 60.0,
    threads: int = 1,
    device: str = "cpu",
) -> Report:
    """Time dynamics of a structure, by every way to run the model; all take turns.

    Parameters
    ----------
    path
        Of a deployed model.
    atoms
        A reasonable start: dynamics at constant energy begins at 300 K.
    platforms
        Names of OpenMM platforms; all that there are by default.
    backends, kernels, neighbors
        See :func:`~idle_md.engines.openmm.create_force`.
    timestep_fs
        Length of a step.
    seconds
        For all ways together.
    threads
        Of torch and of OpenMM's CPU platform.
    device
        Where the model runs.

    Raises
    ------
    ValueError
        If the model runs on none of the kernels or does not know an element, or there is no such
        platform.
    """
    keep_freed_memory()
    start = standard_form(atoms)
    places = [find_platform(name)[0] for name in platforms or _platforms()]
    with _threads(threads):
        models, failed = _models(path, kernels, device)
        check_elements(next(iter(models.values())).metadata, start.numbers)
        runs: Runs = {("core", each): _evaluator(m, start) for each, m in models.items()}
        for place in places:
            runs[place.getName()] = _stepper(start, None, place, timestep_fs, threads)
        for place, backend, each, search in product(places, backends, kernels, neighbors):
            way = Options(place.getName(), backend, each, search)
            try:
                runs[way] = _dynamics(models, way, start, place, timestep_fs, threads)
            except (ImportError, ValueError, openmm.OpenMMException) as error:
                failed[way] = str(error).strip().splitlines()[-1]
        times = _take_turns(runs, seconds)
        model = next(iter(models.values()))
        twin = _twin(model)
        compared = None if twin is None else compare_inference(model, twin, [start], REPEATS)
    timed = [way for way in times if isinstance(way, Options)]
    return Report(
        atoms=len(start),
        timings=[
            *(_timing(way, times, timestep_fs, len(start)) for way in timed),
            *(Timing(w._asdict(), why_not=failed[w]) for w in failed if isinstance(w, Options)),
        ],
        edges=model.inputs(*_structure(start))[1].shape[1],
        empty_ms={place.getName(): statistics.median(times[place.getName()]) for place in places},
        single_fidelity=compared,
    )


def ethanol(molecules: int) -> ase.Atoms:
    """Return molecules of ethanol on a grid, close together."""
    molecule = ase.build.molecule("CH3CH2OH")
    side = math.ceil(molecules ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)
    atoms = ase.Atoms()
    for place in grid[:molecules] * (np.ptp(molecule.positions, axis=0) + GAP):
        moved = molecule.copy()
        moved.translate(place)
        atoms += moved
    return atoms


def _platforms() -> list[str]:
    every = map(openmm.Platform.getPlatform, range(openmm.Platform.getNumPlatforms()))
    return [platform.getName() for platform in every]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _models(
    path: str | Path, kernels: Sequence[Kernels], device: str
) -> tuple[dict[Kernels, DeployedModel], dict[Any, str]]:
    """Return the model with each kind of kernels, and why there is none with others."""
    models, failed = {}, {}
    for each in kernels:
        try:
            models[each] = load(path, device=device, kernels=each)
        except ValueError as error:
            failed[each] = str(error)
    if not models:
        raise ValueError("; ".join(failed.values()) or "no kernels are given")
    return models, failed


def _twin(model: DeployedModel) -> DeployedModel | None:
    """Return a model of the same size with random weights that has one fidelity."""
    metadata = model.metadata
    if metadata.members > 1:
        return None
    hidden = metadata.head_widths[1] if len(metadata.head_widths) > 2 else 0
    potential = Potential(backbone_of(metadata.backbone), ["single"], hidden)
    potential.to_precision(metadata.torch_dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        save(extract(potential, "single"), path, describe(potential, "single"))
        return load(path, device=model.device, kernels=model.kernels)  # type: ignore[arg-type]


def _structure(atoms: ase.Atoms) -> tuple[Any, ...]:
    return atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc


def _evaluator(model: DeployedModel, atoms: ase.Atoms) -> Callable[[int], None]:
    """Return a function that evaluates the model alone."""
    inputs = model.inputs(*_structure(atoms))

    def run(count: int) -> None:
        with torch.no_grad():
            for _ in range(count):
                energies, _ = model.core(*inputs, len(atoms))
            energies[0].item()  # waits for an accelerator

    return run


def _dynamics(
    models: dict[Kernels, DeployedModel],
    way: Options,
    atoms: ase.Atoms,
    platform: openmm.Platform,
    timestep_fs: float,
    threads: int,
) -> Callable[[int], None]:
    """Return a function that makes steps with the model."""
    if way.kernels not in models:
        raise ValueError("the model does not run on these kernels")
    reason = OpenMMEngine(way.backend).why_not(models[way.kernels])
    if reason is not None:
        raise ImportError(reason)
    force = create_force(
        models[way.kernels],
        atoms.numbers,
        backend=way.backend,
        periodic=bool(atoms.pbc.all()),
        neighbors=way.neighbors,
    )
    return _stepper(atoms, force, platform, timestep_fs, threads)


def _stepper(
    atoms: ase.Atoms,
    force: openmm.Force | None,
    platform: openmm.Platform,
    timestep_fs: float,
    threads: int,
) -> Callable[[int], None]:
    """Return a function that makes steps."""
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * unit.angstrom))
    if force is not None:
        system.addForce(force)
    integrator = openmm.VerletIntegrator(timestep_fs * unit.femtosecond)
    properties = {"Threads": str(threads)} if platform.getName() == "CPU" else {}
    context = openmm.Context(system, integrator, platform, properties)
    context.setPositions(atoms.positions * unit.angstrom)
    context.setVelocitiesToTemperature(TEMPERATURE_K, 1)

    def run(count: int) -> None:
        integrator.step(count)
        context.getState(positions=True)  # waits for an accelerator

    return run


def _take_turns(runs: Runs, seconds: float) -> dict[Any, list[float]]:
    """Return milliseconds per step or evaluation, everybody in turn until the time is over."""
    counts = {key: _count(run) for key, run in runs.items()}
    times: dict[Any, list[float]] = {key: [] for key in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(runs))]) < LEAST_TURNS:
        for key, run in runs.items():
            began = time.perf_counter()
            run(counts[key])
            times[key].append(1e3 * (time.perf_counter() - began) / counts[key])
    return times


def _count(run: Callable[[int], None]) -> int:
    """Return how many steps make a sample, after some to warm up."""
    run(WARM_UP)
    began = time.perf_counter()
    run(1)
    return max(1, round(SAMPLE_SECONDS / (time.perf_counter() - began)))


def _timing(
    way: Options, times: dict[Any, list[float]], timestep_fs: float, n_atoms: int
) -> Timing:
    own, core = times[way], times["core", way.kernels]
    step_ms = statistics.median(own)
    return Timing(
        way._asdict(),
        step_ms=step_ms,
        core_ms=statistics.median(core),
        overhead_ms=statistics.median(a - b for a, b in zip(own, core, strict=True)),
        katom_steps_per_s=n_atoms / step_ms,
        ns_per_day=ns_per_day(1, timestep_fs, step_ms * 1e-3),
    )
