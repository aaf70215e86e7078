"""What is recorded of molecular dynamics, and the loop over its steps."""

import time
from dataclasses import dataclass, field

import ase
import openmm
from openmm import unit

from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.guard import GuardReporter
from idle_md.engines.openmm.restart import Checkpoint
from idle_md.engines.openmm.spread import SpreadReporter
from idle_md.engines.openmm.trajectory import Writer
from idle_md.engines.results import Progress, ns_per_day
from idle_md.units import KJ_PER_MOL


@dataclass
class Recorder:
    """Energies in eV and the structure at regular steps, for those that watch and write them.

    Attributes
    ----------
    context
        That of the run.
    guard, spread
        What may stop it.
    checkpoint
        Writes what a restart needs.
    frames
        Number of frames that the trajectory holds.
    write
        Appends a frame to the trajectory.
    times, potential, kinetic
        Times in ps, and energies in eV.
    """

    context: openmm.Context
    guard: GuardReporter
    spread: SpreadReporter | None = None
    checkpoint: Checkpoint | None = None
    frames: int = 0
    write: Writer | None = None
    times: list[float] = field(default_factory=list)
    potential: list[float] = field(default_factory=list)
    kinetic: list[float] = field(default_factory=list)

    @property
    def atoms(self) -> ase.Atoms:
        """The last structure."""
        return self.guard.good

    def record(self, write: bool = True, last: bool = False) -> None:
        """Record what is now; ``write`` says whether the trajectory gets a frame of it."""
        state = self.context.getState(energy=True, positions=True, forces=True)
        self.guard.report(None, state)
        kj_per_mol = unit.kilojoule_per_mole
        self.times.append(state.getTime().value_in_unit(unit.picosecond))
        self.potential.append(state.getPotentialEnergy().value_in_unit(kj_per_mol) * KJ_PER_MOL)
        self.kinetic.append(state.getKineticEnergy().value_in_unit(kj_per_mol) * KJ_PER_MOL)
        self.atoms.info["potential_ev"] = self.potential[-1]
        if self.write is not None and write:
            self.write(self.atoms)
            self.frames += 1
        if self.spread is not None:
            self.spread.report(None, state)
        due = self.checkpoint and (last or state.getStepCount() % self.checkpoint.interval == 0)
        if self.checkpoint is not None and due:
            self.checkpoint.write(self.context, self.frames)

    def run(self, settings: MDSettings, progress: Progress | None) -> float:
        """Run, record every multiple of the interval and the end, return the speed in ns/day."""
        integrator = self.context.getIntegrator()
        began = time.perf_counter()
        done, speed = 0, 0.0
        while done < settings.steps:
            to_next = settings.interval - self.context.getStepCount() % settings.interval
            block = min(to_next, settings.steps - done)
            with self.guard.watching(self.context):
                integrator.step(block)
                self.record(last=done + block == settings.steps)
            done += block
            speed = ns_per_day(done, settings.timestep_fs, time.perf_counter() - began)
            if progress is not None:
                progress(done, speed)
        return speed
