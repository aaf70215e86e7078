"""Molecular dynamics with a deployed model in OpenMM."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ase
import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from openmm import app, unit

from idle_md.deploy import DeployedModel, load
from idle_md.engines.openmm import Backend, backend_of, create_force
from idle_md.engines.trajectory import open_trajectory
from idle_md.units import KJ_PER_MOL, NM

Ensemble = Literal["nve", "nvt", "npt"]
Progress = Callable[[int, float], None]
"""Called with the number of steps done and ns/day so far."""

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
        Length, and speed including reports.
    times_ps, potential_ev, kinetic_ev, total_ev
        Reports (n,), the first before the first step.
    nve_drift_mev_per_atom_per_ps
        Slope of a linear fit of the total energy per atom; None but for ``nve``.
    positions, cell
        Final coordinates (N, 3) and lattice vectors (3, 3) or None, in angstrom.
    """

    backend: str
    platform: str
    steps: int
    ns_per_day: float
    times_ps: NDArray[np.float64]
    potential_ev: NDArray[np.float64]
    kinetic_ev: NDArray[np.float64]
    total_ev: NDArray[np.float64]
    nve_drift_mev_per_atom_per_ps: float | None
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None


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
    backend: Backend = "auto",
    platform: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics of a structure in OpenMM.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    atoms
        Start; periodic in all directions or in none. A periodic cell is turned and reduced to
        OpenMM's lower triangular form.
    ensemble
        ``"nve"`` (velocity Verlet), ``"nvt"`` (Langevin middle) or ``"npt"`` (and Monte Carlo
        barostat).
    temperature_K
        Of the initial velocities and of the thermostat.
    steps, timestep_fs, interval
        Number of steps, their length, and how many lie between two reports and frames.
    friction_per_ps, pressure_bar
        Of the thermostat and of the barostat.
    minimize
        Relax the start first.
    trajectory
        Where to write frames, see :func:`~idle_md.engines.trajectory.writing_trajectory`.
    backend
        See :func:`~idle_md.engines.openmm.create_force`.
    platform
        Name of an OpenMM platform; OpenMM's choice by default.
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
        such platform, or the dynamics becomes unstable.
    """
    deployed = model if isinstance(model, DeployedModel) else load(model)
    start = _standard_form(atoms)
    system = _system(start, ensemble, temperature_K, pressure_bar, seed)
    force = create_force(deployed, start.numbers, backend=backend, periodic=bool(start.pbc.all()))
    system.addForce(force)
    integrator = _integrator(ensemble, temperature_K, friction_per_ps, timestep_fs, seed)
    context = openmm.Context(system, integrator, *_platform(platform))
    threads = threads or (1 if len(start) <= SMALL else torch.get_num_threads())
    with _torch_threads(threads), _frames(trajectory, start, interval * timestep_fs) as write:
        _initialize(context, start, temperature_K, minimize, seed)
        reports, seconds = _integrate(context, start, steps, interval, write, progress)
    return _result(...)
