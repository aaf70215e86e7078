"""Molecular dynamics with a deployed model in OpenMM."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
import openmm
import torch
from numpy.typing import NDArray

from idle_md.bonds import find_bonds
from idle_md.deploy import DeployedModel, load
from idle_md.deploy.kernels import Kernels
from idle_md.engines.openmm.force import Backend, SpreadReporter, backend_of
from idle_md.engines.openmm.guard import GuardReporter
from idle_md.engines.openmm.mixed import Surroundings
from idle_md.engines.openmm.prepare import checkpoint_of, frames_of, initialize, set_up, warm_up
from idle_md.engines.openmm.recorder import Progress, Reports
from idle_md.engines.openmm.restart import read_checkpoint
from idle_md.engines.openmm.system import (
    Ensemble,
    find_platform,
    make_barostat,
    make_integrator,
    repartition_mass,
    standard_form,
)
from idle_md.engines.openmm.trajectory import Frames
from idle_md.memory import keep_freed_memory

SMALL = 100
"""Up to this many atoms a second thread costs more than it gains."""


@dataclass(frozen=True)
class MDResult:
    """What a run gave.

    Attributes
    ----------
    backend, platform
        How OpenMM ran the model.
    steps, ns_per_day
        Length, without what a restart file had behind it, and speed with reports included.
    times_ps, potential_ev, kinetic_ev
        Reports (n,), the first of them before the first step.
    nve_drift_mev_per_atom_per_ps
        Slope of a linear fit of the total energy per atom; None for other ensembles.
    final
        Last structure.
    """

    backend: str
    platform: str
    steps: int
    ns_per_day: float
    times_ps: NDArray[np.float64]
    potential_ev: NDArray[np.float64]
    kinetic_ev: NDArray[np.float64]
    nve_drift_mev_per_atom_per_ps: float | None
    final: ase.Atoms

    @property
    def total_ev(self) -> NDArray[np.float64]:
        """Total energy of every report (n,) in eV."""
        return self.potential_ev + self.kinetic_ev


def run_md(
    model: DeployedModel | str | Path,
    atoms: ase.Atoms,
    *,
    ensemble: Ensemble = "nvt",
    temperature_K: float = 300.0,
    timestep_fs: float = 0.5,
    steps: int = 1000,
    interval: int = 100,
    friction_per_ps: float = 1.0,
    pressure_bar: float = 1.0,
    hydrogen_mass: float | None = None,
    minimize: bool = False,
    trajectory: str | Path | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_interval: int | None = None,
    restart: str | Path | None = None,
    max_stretch: float | None = None,
    spread_threshold: float | None = None,
    spread_file: str | Path | None = None,
    surroundings: Surroundings | None = None,
    backend: Backend = "auto",
    kernels: Kernels = "auto",
    platform: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics of a structure in OpenMM.

    The start is checked, see :func:`~idle_md.engines.openmm.start_checks.check_start`, and so is
    every report, see :class:`~idle_md.engines.openmm.guard.GuardReporter`: a run that breaks leaves
    its last good structure in ``NAME.last_good.xyz`` beside the trajectory or the checkpoint, or in
    the current folder. The process keeps freed memory from then on, see
    :func:`~idle_md.memory.keep_freed_memory`.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    atoms
        Start; periodic in all directions or in none. A periodic cell is turned and reduced to the
        lower triangular form that OpenMM needs. On a restart, the start of the first run.
    ensemble
        ``"nve"`` (leapfrog Verlet), ``"nvt"`` (middle-scheme Langevin) or ``"npt"`` (the same and
        a Monte Carlo barostat).
    temperature_K
        Of the initial velocities and of the thermostat.
    timestep_fs, steps, interval
        Length of a step, number of steps to do, and steps between two reports or frames.
    friction_per_ps, pressure_bar
        Of the thermostat and of the barostat.
    hydrogen_mass
        Mass of hydrogen in amu, taken from the atoms that they are bonded to, see
        :func:`~idle_md.engines.openmm.system.repartition_mass`.
    minimize
        Relax the start first.
    trajectory
        Where to write frames, see
        :func:`~idle_md.engines.openmm.trajectory.writing_trajectory`; there must be no such
        file, but a restart appends to the one that its checkpoint belongs to.
    checkpoint, checkpoint_interval
        Where to write a restart file, OpenMM's State as XML, and how often, a multiple of
        ``interval`` and ``interval`` by default; and at the end.
    restart
        Go on from such a file: with its positions, velocities, box, time and step, but with the
        settings given here. NVE goes on as if it had not stopped; thermostat and barostat draw new
        random numbers.
    max_stretch
        Longest bond that the run goes on with, in sums of covalent radii, for example 2; None, the
        default, allows reactions and diffusion.
    spread_threshold, spread_file
        Of a committee: the largest spread of a force in eV/angstrom that the run goes on with,
        checked at every report, and the file with the spread of every report, ``spread.csv`` if
        there is only a threshold; see :class:`~idle_md.engines.openmm.spread.SpreadReporter`.
    surroundings
        What a force field describes, where the model describes a part alone. Needs the model's
        path, and openmmml.
    backend, kernels
        See :func:`~idle_md.engines.openmm.create_force`.
    platform
        Name of an OpenMM platform. By default Reference for a model on the CPU that is the only
        force, which is most of a step, so that nothing is handed between threads and precisions;
        else OpenMM's choice.
    threads
        Threads of torch on the CPU; one for small systems by default.
    seed
        Of velocities, thermostat and barostat.
    progress
        Called after every interval.

    Raises
    ------
    ValueError
        If the model does not know an element, the ensemble or the restart file does not fit the
        structure, there is no such platform, or a spread is asked of a model that is no committee.
    FileExistsError
        If there is a trajectory of that name that is not appended to.
    UnstableError
        If the dynamics becomes unstable.
    SpreadError
        If the members disagree by more than ``spread_threshold``.
    """
    keep_freed_memory()
    if restart is not None and minimize:
        raise ValueError("a restart goes on from where it was: leave minimize out")
    deployed = load(model, kernels=kernels)
    start = standard_form(atoms) if surroundings is None else atoms.copy()
    saved = None if restart is None else read_checkpoint(restart)
    first = 0 if saved is None else saved.state.getStepCount()
    setup = set_up(model, deployed, atoms, start, saved, surroundings, backend, kernels)
    if hydrogen_mass is not None:
        bonds = find_bonds(start) if surroundings is None else surroundings.bonds
        repartition_mass(setup.system, start.numbers, bonds, hydrogen_mass)
    if ensemble == "npt":
        barostat = make_barostat(start, pressure_bar, temperature_K, seed + first)
        setup.system.addForce(barostat)
    integrator = make_integrator(
        ensemble, temperature_K, friction_per_ps, timestep_fs, seed + first
    )
    if platform is None and surroundings is None and deployed.device.type == "cpu":
        platform = "Reference"
    context = openmm.Context(setup.system, integrator, *find_platform(platform))
    beside = trajectory or checkpoint
    frame = Path(beside).with_suffix(".last_good.xyz") if beside else Path("last_good.xyz")
    reports = Reports(context, GuardReporter(frame, interval, start, max_stretch))
    if spread_threshold is not None or spread_file is not None:
        reports.spread = SpreadReporter(
            spread_file or "spread.csv",
            interval,
            deployed,
            start.numbers,
            atoms=setup.atoms,
            periodic=bool(start.pbc.all()),
            threshold=spread_threshold,
            after=None if saved is None else first,
        )
    if checkpoint is not None:
        reports.checkpoint = checkpoint_of(
            checkpoint, checkpoint_interval, interval, start, trajectory
        )
    topology = None if surroundings is None else surroundings.topology
    frames = frames_of(trajectory, Frames(timestep_fs, interval, first, topology), saved, reports)
    with _torch_threads(threads, len(setup.atoms)), frames as reports.write:
        if saved is None:
            with reports.guard.watching(context):
                initialize(context, start, temperature_K, minimize, seed)
        else:
            saved.restore(context)
            reports.guard.good, reports.guard.step = saved.placed(start), first
        warm_up(context)
        reports.record(write=reports.frames == 0)
        speed = reports.run(steps, interval, timestep_fs, progress)
    return MDResult(
        backend=backend_of(setup.force),
        platform=context.getPlatform().getName(),
        steps=steps,
        ns_per_day=speed,
        times_ps=np.array(reports.times),
        potential_ev=np.array(reports.potential),
        kinetic_ev=np.array(reports.kinetic),
        nve_drift_mev_per_atom_per_ps=reports.drift() if ensemble == "nve" else None,
        final=reports.atoms,
    )


@contextmanager
def _torch_threads(threads: int | None, n_atoms: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or (1 if n_atoms <= SMALL else before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
