"""Molecular dynamics with a deployed model in OpenMM."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import ase
import numpy as np
import openmm
import torch

from idle_md.bonds import find_bonds
from idle_md.deploy import DeployedModel, load
from idle_md.engines.edges.kept import list_problem
from idle_md.engines.edges.room import ROOM
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.backends import why_no_platform
from idle_md.engines.openmm.force import backend_of, create_force
from idle_md.engines.openmm.guard import GuardReporter
from idle_md.engines.openmm.mixed import Surroundings, make_mixed_system, model_force, read_start
from idle_md.engines.openmm.recorder import Recorder
from idle_md.engines.openmm.restart import Saved, make_checkpoint, read_checkpoint
from idle_md.engines.openmm.spread import SpreadReporter
from idle_md.engines.openmm.system import (
    find_platform,
    initialize,
    make_barostat,
    make_integrator,
    make_system,
    repartition_mass,
    standard_form,
    warm_up,
)
from idle_md.engines.openmm.trajectory import Frames, Writer, Written, writing_trajectory
from idle_md.engines.results import MDResult, Progress
from idle_md.engines.run_file import write_run_file
from idle_md.engines.start_checks import check_start
from idle_md.memory import keep_freed_memory
from idle_md.states import State

logger = logging.getLogger(__name__)

SMALL = 100
"""Up to this many atoms a second thread costs more than it gains."""


@dataclass(frozen=True)
class Setup:
    """What a run is made of.

    Attributes
    ----------
    deployed
        The model.
    start
        First structure of the first run, in OpenMM's frame.
    surroundings
        What a force field describes, where the model describes a part alone.
    saved
        What a restart goes on from.
    system, force, atoms
        The System, the model's force in it, and the particles (n,) that this describes.
    """

    deployed: DeployedModel
    start: ase.Atoms
    surroundings: Surroundings | None
    saved: Saved | None
    system: openmm.System
    force: openmm.Force
    atoms: list[int]

    @property
    def first_step(self) -> int:
        """Step at which the run begins."""
        return 0 if self.saved is None else int(self.saved.state.getStepCount())

    @property
    def default_platform(self) -> str | None:
        """Reference, where the model is most of a step: nothing is handed between threads then."""
        alone = self.surroundings is None and self.deployed.device.type == "cpu"
        return "Reference" if alone else None


def run_openmm(
    model: DeployedModel | str | Path,
    structure: ase.Atoms | str | Path,
    settings: MDSettings,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics of a structure in OpenMM.

    NVE is leapfrog Verlet, NVT middle-scheme Langevin, NPT the same with a Monte Carlo barostat.
    The start is periodic in all directions or in none; a periodic cell is turned and reduced, see
    :func:`~idle_md.cells.standard_form`. It is checked, see
    :func:`~idle_md.engines.start_checks.check_start`, and so is every report, see
    :class:`~idle_md.engines.openmm.guard.GuardReporter`: a run that breaks leaves its last good
    structure in ``NAME.last_good.xyz`` beside the trajectory or the checkpoint, or in the current
    folder. A checkpoint is OpenMM's State as XML, written with the frames and at the end; from it
    NVE goes on as if it had not stopped, thermostat and barostat draw new random numbers. The
    process keeps freed memory from then on, see :func:`~idle_md.memory.keep_freed_memory`.

    Parameters
    ----------
    model, structure, settings, progress
        See :func:`~idle_md.engines.dynamics.run_md`, which also says what raises.
    """
    keep_freed_memory()
    setup = _set_up(model, structure, settings)
    context = _make_context(setup, settings)
    recorder = _make_recorder(context, setup, settings)
    with _torch_threads(settings.threads, len(setup.atoms)) as threads:
        settings = settings.model_copy(
            update={
                "backend": backend_of(setup.force),
                "platform": context.getPlatform().getName(),
                "kernels": setup.deployed.kernels,
                "device": str(setup.deployed.device),
                "threads": threads,
            }
        )
        with _trajectory(setup, settings) as recorder.write:
            write_run_file(model, structure, settings, appends=recorder.frames > 0)
            _begin(context, setup, settings, recorder)
            speed = recorder.run(settings, progress)
    return MDResult(
        settings=settings,
        ns_per_day=speed,
        times_ps=np.array(recorder.times),
        potential_ev=np.array(recorder.potential),
        kinetic_ev=np.array(recorder.kinetic),
        final=recorder.atoms,
    )


def _set_up(
    model: DeployedModel | str | Path, structure: ase.Atoms | str | Path, settings: MDSettings
) -> Setup:
    """Read and check the start, and make the System."""
    deployed = load(model, settings.device, kernels=settings.kernels)
    given, surroundings = read_start(structure, settings)
    start = standard_form(given) if surroundings is None else given.copy()
    saved = None
    if settings.restart is not None:
        saved = read_checkpoint(settings.restart)
        saved.check(start)
    now = start if saved is None else saved.placed(start)
    if surroundings is None:
        parts = _alone(deployed, now, settings.state_of(given), settings)
    else:
        parts = _within(deployed, now, surroundings, settings)
    if settings.hydrogen_mass is not None:
        bonds = find_bonds(start) if surroundings is None else surroundings.bonds
        repartition_mass(parts[0], start.numbers, bonds, settings.hydrogen_mass)
    return Setup(deployed, start, surroundings, saved, *parts)


Parts = tuple[openmm.System, openmm.Force, list[int]]


def _alone(deployed: DeployedModel, atoms: ase.Atoms, state: State, settings: MDSettings) -> Parts:
    """Check a structure that the model describes as a whole, and make its System."""
    periodic = bool(atoms.pbc.all())
    check_start(atoms)
    force = create_force(
        deployed,
        atoms.numbers,
        backend=settings.backend,
        periodic=periodic,
        charge=state.charge,
        multiplicity=state.multiplicity,
    )
    return make_system(atoms, force), force, list(range(len(atoms)))


def _within(
    deployed: DeployedModel, atoms: ase.Atoms, surroundings: Surroundings, settings: MDSettings
) -> Parts:
    """Check a structure of which the model describes a part, and make its System."""
    chosen, cutoff = surroundings.ml_atoms, surroundings.cutoff_angstrom
    check_start(atoms, cutoff)
    options = {} if settings.charge is None else {"charge": settings.charge}
    system = make_mixed_system(deployed, surroundings, backend=settings.backend, **options)
    return system, model_force(system), chosen


def _make_context(setup: Setup, settings: MDSettings) -> openmm.Context:
    seed = settings.seed + setup.first_step
    if settings.ensemble == "npt":
        setup.system.addForce(make_barostat(setup.start, settings, seed))
    platform = find_platform(settings.platform or setup.default_platform)
    context = openmm.Context(setup.system, make_integrator(settings, seed), *platform)
    _check_device(context.getPlatform().getName(), setup)
    return context


def _check_device(platform: str, setup: Setup) -> None:
    """Check that a TorchForce runs on a platform, and gets its positions where the model is."""
    device = setup.deployed.device.type
    if backend_of(setup.force) != "torchforce":
        if device == "cuda" and platform != "CUDA":
            reason = why_no_platform() or "take platform CUDA"
            logger.warning("platform %s is slow beside a model on a GPU: %s", platform, reason)
        return
    if platform == "OpenCL":
        raise ValueError(
            "openmmtorch 1.5 was built for an earlier OpenMM and ends the process on platform "
            "OpenCL: take another platform, or backend pythonforce"
        )
    if (platform == "CUDA") != (device == "cuda"):
        raise ValueError(
            f"a TorchForce on platform {platform} has no positions for a model on {device}: take "
            "platform CUDA for device cuda and another one for cpu, or backend pythonforce"
        )


def _make_recorder(context: openmm.Context, setup: Setup, settings: MDSettings) -> Recorder:
    """Return what records and watches the run, without its trajectory."""
    start, beside = setup.start, settings.trajectory or settings.checkpoint
    frame = beside.with_suffix(".last_good.xyz") if beside else Path("last_good.xyz")
    explain = partial(_list_problem, setup) if setup.deployed.can_be_replayed else None
    bonds = None if setup.surroundings is None else setup.surroundings.bonds
    stretch = settings.max_stretch or None
    guard = GuardReporter(frame, settings.interval, start, stretch, explain, bonds)
    recorder = Recorder(context, guard, checkpoint=make_checkpoint(settings, start))
    if settings.max_spread is not None or settings.spread_file is not None:
        recorder.spread = SpreadReporter(
            settings.spread_file or "spread.csv",
            settings.interval,
            setup.deployed,
            start.numbers,
            atoms=setup.atoms,
            periodic=bool(start.pbc.all()),
            threshold=settings.max_spread,
            after=None if setup.saved is None else setup.first_step,
        )
    written = _written(setup, settings)
    recorder.frames = 0 if written is None else written.frames
    return recorder


def _list_problem(setup: Setup, atoms: ase.Atoms) -> str:
    reason = list_problem(setup.deployed, atoms[setup.atoms])
    return f"{reason}; backend pythonforce makes more room" if reason == ROOM else reason


def _written(setup: Setup, settings: MDSettings) -> Written | None:
    """Return how far the trajectory had got that the run goes on with, None for a new one."""
    if setup.saved is None or settings.trajectory is None:
        return None
    return setup.saved.of(settings.trajectory)


def _trajectory(setup: Setup, settings: MDSettings) -> AbstractContextManager[Writer | None]:
    if settings.trajectory is None:
        return nullcontext()
    interval, first = settings.interval, setup.first_step
    topology = None if setup.surroundings is None else setup.surroundings.topology
    frames = Frames(settings.timestep_fs, interval, first, topology)
    written = _written(setup, settings)
    if written is not None:
        following = first - first % interval + interval
        begin = following - written.frames * interval  # that of a run without other frames
        frames = replace(frames, first=begin)
    return writing_trajectory(settings.trajectory, frames, written)


def _begin(context: openmm.Context, setup: Setup, settings: MDSettings, recorder: Recorder) -> None:
    """Bring the Context to the first step, and record that unless the trajectory holds it."""
    if setup.saved is None:
        with recorder.guard.watching(context):
            initialize(context, setup.start, settings)
    else:
        setup.saved.restore(context)
        recorder.guard.good = setup.saved.placed(setup.start)
        recorder.guard.step = setup.first_step
    warm_up(context)
    recorder.record(write=recorder.frames == 0)


@contextmanager
def _torch_threads(threads: int | None, n_atoms: int) -> Iterator[int]:
    """Set the threads of torch, for a small system one by default, and tell how many."""
    before = torch.get_num_threads()
    chosen = threads or (1 if n_atoms <= SMALL else before)
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        torch.set_num_threads(before)
