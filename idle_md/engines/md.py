"""Molecular dynamics with a deployed model in OpenMM."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
import openmm
import torch
from ase.cell import Cell
from numpy.typing import NDArray
from openmm import unit

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.native import Kernels
from idle_md.engines.openmm import Backend, SpreadReporter, backend_of, create_force
from idle_md.engines.system import (
    Ensemble,
    find_platform,
    make_barostat,
    make_integrator,
    make_system,
    openmm_seed,
)
from idle_md.engines.trajectory import Writer, writing_trajectory
from idle_md.memory import keep_freed_memory
from idle_md.units import KJ_PER_MOL

Progress = Callable[[int, float], None]
"""Called with the number of steps done and the speed so far in ns/day."""

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
        Length, and speed with reports included.
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
    minimize: bool = False,
    trajectory: str | Path | None = None,
    spread_threshold: float | None = None,
    spread_file: str | Path | None = None,
    backend: Backend = "auto",
    kernels: Kernels = "auto",
    platform: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics of a structure in OpenMM.

    The process keeps freed memory from then on, see
    :func:`~idle_md.memory.keep_freed_memory`.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    atoms
        Start; periodic in all directions or in none. A periodic cell is turned and reduced to the
        lower triangular form that OpenMM needs.
    ensemble
        ``"nve"`` (leapfrog Verlet), ``"nvt"`` (middle-scheme Langevin) or ``"npt"`` (the same and
        a Monte Carlo barostat).
    temperature_K
        Of the initial velocities and of the thermostat.
    timestep_fs, steps, interval
        Length of a step, number of steps, and steps between two reports or frames.
    friction_per_ps, pressure_bar
        Of the thermostat and of the barostat.
    minimize
        Relax the start first.
    trajectory
        Where to write frames, see :func:`~idle_md.engines.trajectory.writing_trajectory`.
    spread_threshold, spread_file
        Of a committee: the largest spread of a force in eV/angstrom that the run goes on with,
        checked at every report, and the file with the spread of every report, ``spread.csv`` if
        there is only a threshold; see :class:`~idle_md.engines.spread.SpreadReporter`.
    backend, kernels
        See :func:`~idle_md.engines.openmm.create_force`.
    platform
        Name of an OpenMM platform. By default Reference for a model on the CPU, which is most of a
        step, so that nothing is handed between threads and precisions; else OpenMM's choice.
    threads
        Threads of torch on the CPU; one for small systems by default.
    seed
        Of velocities, thermostat and barostat.
    progress
        Called after every interval.

    Raises
    ------
    ValueError
        If the model does not know an element, the ensemble does not fit the structure, there is no
        such platform, or the dynamics becomes unstable; if a spread is asked of a model that is no
        committee.
    SpreadError
        If the members disagree by more than ``spread_threshold``.
    """
    keep_freed_memory()
    deployed = model if isinstance(model, DeployedModel) else load(model, kernels=kernels)
    start = standard_form(atoms)
    periodic = bool(start.pbc.all())
    force = create_force(deployed, start.numbers, backend=backend, periodic=periodic)
    system = make_system(start, force)
    if ensemble == "npt":
        system.addForce(make_barostat(start, pressure_bar, temperature_K, seed))
    integrator = make_integrator(ensemble, temperature_K, friction_per_ps, timestep_fs, seed)
    if platform is None and deployed.device.type == "cpu":
        platform = "Reference"
    context = openmm.Context(system, integrator, *find_platform(platform))
    spread = None
    if spread_threshold is not None or spread_file is not None:
        spread = SpreadReporter(
            spread_file or "spread.csv",
            interval,
            deployed,
            start.numbers,
            periodic=periodic,
            threshold=spread_threshold,
        )
    frames = writing_trajectory(trajectory, interval * timestep_fs) if trajectory else nullcontext()
    with _torch_threads(threads, len(start)), frames as write:
        _initialize(context, start, temperature_K, minimize, seed)
        reports = _Reports(context, start, write, spread)
        speed = _integrate(integrator, reports, steps, interval, timestep_fs, progress)
    return MDResult(
        backend=backend_of(force),
        platform=context.getPlatform().getName(),
        steps=steps,
        ns_per_day=speed,
        times_ps=np.array(reports.times),
        potential_ev=np.array(reports.potential),
        kinetic_ev=np.array(reports.kinetic),
        nve_drift_mev_per_atom_per_ps=reports.drift() if ensemble == "nve" else None,
        final=reports.atoms,
    )


def standard_form(atoms: ase.Atoms) -> ase.Atoms:
    """Return a copy in the frame that OpenMM needs, with its cell lower triangular and reduced.

    Raises
    ------
    ValueError
        If some directions are periodic and others are not.
    """
    if not atoms.pbc.any():
        return ase.Atoms(atoms.numbers, atoms.positions, masses=atoms.get_masses())
    if not atoms.pbc.all():
        raise ValueError(
            f"periodic along {atoms.pbc.tolist()}: OpenMM wants all directions or none"
        )
    lattice = atoms.cell.array.copy()
    if np.linalg.det(lattice) < 0:
        lattice[2] *= -1  # the same lattice, right-handed: turned below instead of mirrored
    cell, rotation = map(np.array, Cell(lattice).standard_form())
    cell[2] -= cell[1] * np.round(cell[2, 1] / cell[1, 1])
    cell[2] -= cell[0] * np.round(cell[2, 0] / cell[0, 0])
    cell[1] -= cell[0] * np.round(cell[1, 0] / cell[0, 0])
    positions = atoms.positions @ rotation.T
    return ase.Atoms(atoms.numbers, positions, masses=atoms.get_masses(), cell=cell, pbc=True)


@contextmanager
def _torch_threads(threads: int | None, n_atoms: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or (1 if n_atoms <= SMALL else before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _initialize(
    context: openmm.Context, atoms: ase.Atoms, temperature_K: float, minimize: bool, seed: int
) -> None:
    context.setPositions(atoms.positions * unit.angstrom)
    if minimize:
        openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(temperature_K, openmm_seed(seed))
    state = context.getState(velocities=True)
    velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
    masses = atoms.get_masses()
    context.setVelocities(velocities - masses @ velocities / masses.sum())
    for _ in range(3):  # TorchScript optimises itself during the first evaluations
        context.getState(forces=True)


class _Reports:
    """Energies in eV, the structure and the spread of a committee at regular steps."""

    def __init__(
        self,
        context: openmm.Context,
        atoms: ase.Atoms,
        write: Writer | None,
        spread: SpreadReporter | None,
    ) -> None:
        self.context = context
        self.spread = spread
        self.atoms: ase.Atoms = atoms.copy()
        self.write = write
        self.times: list[float] = []
        self.potential: list[float] = []
        self.kinetic: list[float] = []
        self.record()

    def record(self) -> None:
        state = self.context.getState(energy=True, positions=True)
        kj_per_mol = unit.kilojoule_per_mole
        self.times.append(state.getTime().value_in_unit(unit.picosecond))
        self.potential.append(state.getPotentialEnergy().value_in_unit(kj_per_mol) * KJ_PER_MOL)
        self.kinetic.append(state.getKineticEnergy().value_in_unit(kj_per_mol) * KJ_PER_MOL)
        if not math.isfinite(self.potential[-1] + self.kinetic[-1]):
            raise openmm.OpenMMException("the energy is not a number")
        self.atoms.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        if self.atoms.pbc.all():
            self.atoms.cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
        if self.write is not None:
            self.atoms.info = {"time_ps": self.times[-1], "potential_ev": self.potential[-1]}
            self.write(self.atoms)
        if self.spread is not None:
            self.spread.report(None, state)

    def drift(self) -> float:
        """Return the slope of the total energy per atom in meV/ps."""
        total = np.array(self.potential) + np.array(self.kinetic)
        return 1e3 * float(np.polyfit(self.times, total, 1)[0]) / len(self.atoms)


def _integrate(
    integrator: openmm.Integrator,
    reports: _Reports,
    steps: int,
    interval: int,
    timestep_fs: float,
    progress: Progress | None,
) -> float:
    """Run, and return the speed in ns/day."""
    began = time.perf_counter()
    done, speed = 0, 0.0
    while done < steps:
        block = min(interval, steps - done)
        try:
            integrator.step(block)
            reports.record()
        except openmm.OpenMMException as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"the dynamics became unstable between steps {done} and {done + block} ({reason}): "
                "start from a relaxed structure (minimize), or take a shorter timestep"
            ) from error
        done += block
        speed = done * timestep_fs * 1e-6 / (time.perf_counter() - began) * 86400
        if progress is not None:
            progress(done, speed)
    return speed
