"""From what a run of molecular dynamics is given to what it needs."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import ase
import numpy as np
import openmm
from openmm import unit

from idle_md.deploy import DeployedModel
from idle_md.deploy.kernels import Kernels
from idle_md.engines.openmm.force import Backend, create_force
from idle_md.engines.openmm.mixed import Surroundings, make_mixed_system, model_force
from idle_md.engines.openmm.recorder import Reports
from idle_md.engines.openmm.restart import Checkpoint, Saved
from idle_md.engines.openmm.start_checks import check_start, warn_of_charge
from idle_md.engines.openmm.system import make_system, openmm_seed
from idle_md.engines.openmm.trajectory import Frames, Writer, writing_trajectory


@dataclass(frozen=True)
class Setup:
    """A System, the model's force in it, and the particles (n,) that this describes."""

    system: openmm.System
    force: openmm.Force
    atoms: list[int]


def set_up(
    model: DeployedModel | str | Path,
    deployed: DeployedModel,
    given: ase.Atoms,
    start: ase.Atoms,
    saved: Saved | None,
    surroundings: Surroundings | None,
    backend: Backend,
    kernels: Kernels,
) -> Setup:
    """Check the start and make the System."""
    now = start
    if saved is not None:
        saved.check(start)
        now = saved.placed(start)
    cell = now.cell.array if now.pbc.all() else None
    structure = deployed, now.numbers, now.positions, cell
    if surroundings is None:
        charge = given.info.get("charge", given.get_initial_charges().sum())
        check_start(*structure, float(charge))
        force = create_force(deployed, now.numbers, backend=backend, periodic=cell is not None)
        return Setup(make_system(start, force), force, list(range(len(start))))
    if isinstance(model, DeployedModel):
        raise ValueError("a model within a force field is given as the path of its file")
    chosen, cutoff = surroundings.ml_atoms, surroundings.cutoff_angstrom
    check_start(*structure, atoms=chosen, cutoff_angstrom=cutoff)
    system, charge = make_mixed_system(Path(model), surroundings, backend=backend, kernels=kernels)
    warn_of_charge(charge)
    return Setup(system, model_force(system), chosen)


def checkpoint_of(
    path: str | Path,
    every: int | None,
    interval: int,
    atoms: ase.Atoms,
    trajectory: str | Path | None,
) -> Checkpoint:
    """Return what writes a run's restart files; an interval that does not fit is a ValueError."""
    every = every or interval
    if every % interval:
        raise ValueError(
            f"checkpoint_interval {every} is no multiple of interval {interval}: checkpoints are "
            "written with the frames"
        )
    written = None if trajectory is None else Path(trajectory)
    return Checkpoint(Path(path), every, atoms.get_chemical_formula(), written)


def frames_of(
    trajectory: str | Path | None, frames: Frames, saved: Saved | None, reports: Reports
) -> AbstractContextManager[Writer | None]:
    """Open the trajectory, and tell the reports how many frames it holds."""
    if trajectory is None:
        return nullcontext()
    written = None if saved is None else saved.of(Path(trajectory))
    if written is not None:
        reports.frames = written.frames
        following = frames.first - frames.first % frames.interval + frames.interval
        first = following - written.frames * frames.interval  # that of a run without other frames
        frames = replace(frames, first=first)
    return writing_trajectory(trajectory, frames, written)


def initialize(
    context: openmm.Context, atoms: ase.Atoms, temperature_K: float, minimize: bool, seed: int
) -> None:
    """Set positions and velocities; the centre of mass rests."""
    context.setPositions(atoms.positions * unit.angstrom)
    if minimize:
        openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(temperature_K, openmm_seed(seed))
    state = context.getState(velocities=True)
    velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
    system = context.getSystem()
    masses = np.array([system.getParticleMass(k)._value for k in range(len(atoms))])
    moving = (masses > 0)[:, None]
    context.setVelocities(velocities - moving * (masses @ velocities / masses.sum()))


def warm_up(context: openmm.Context) -> None:
    """Have what a first step does only once done."""
    for _ in range(3):  # TorchScript optimises itself during the first evaluations
        context.getState(forces=True)
