"""Geometries of Langevin dynamics."""

from collections.abc import Iterator, Sequence
from itertools import count, product

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

from idle_md.bonds import fragments, is_sound
from idle_md.label.calculator import LevelCalculator
from idle_md.label.programs.base import LabelError

FRICTION = 0.02  # 1/fs
EQUILIBRATION_FS = 100.0


def dynamics(
    starts: Sequence[Atoms],
    calculator: LevelCalculator,
    temperatures: Sequence[float],
    timestep_fs: float,
    interval_fs: float,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Yield geometries without end, in turn from a trajectory for each start and temperature.

    A trajectory that falls apart begins anew.
    """
    settings = (calculator, timestep_fs, interval_fs, rng)
    running = [
        _trajectory(atoms, n, temperature, *settings)
        for (n, atoms), temperature in product(enumerate(starts), temperatures)
    ]
    while True:
        for trajectory in running:
            yield next(trajectory)


def _trajectory(
    start: Atoms,
    conformer: int,
    temperature: float,
    calculator: LevelCalculator,
    timestep_fs: float,
    interval_fs: float,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    interval = max(1, round(interval_fs / timestep_fs))
    whole, broken = fragments(start), True
    calculator = calculator.keeping_bonds(start)
    for frame in count():
        if broken:
            atoms = start.copy()
            atoms.calc = calculator
            MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
            Stationary(atoms)
            motion = Langevin(
                atoms,
                timestep_fs * units.fs,
                temperature_K=temperature,
                friction=FRICTION / units.fs,
                fixcm=False,
                rng=rng,
            )
            first = round(EQUILIBRATION_FS / timestep_fs)
        try:
            motion.run(interval + first)
            first = 0
            broken = not is_sound(atoms, whole)
        except LabelError:
            broken = True
        yield Atoms(
            atoms.numbers,
            atoms.positions,
            info={
                "sampling": "md",
                "conformer": conformer,
                "temperature_K": temperature,
                "frame": frame,
            },
        )
