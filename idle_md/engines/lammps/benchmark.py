"""How fast a deployed model runs in LAMMPS, by mode, MPI ranks and kernels."""

import re
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import ase
import ase.build

from idle_md.deploy import load
from idle_md.deploy.kernels import Kernels
from idle_md.elements import symbols
from idle_md.engines.choices import Mode
from idle_md.engines.lammps.input import Structure, place, set_up, write_data
from idle_md.engines.lammps.process import LammpsError, run_process
from idle_md.engines.results import ns_per_day

SPACING = 3.1
"""angstrom between molecules of water: 1.00 g/cm^3."""
TEMPERATURE_K = 300.0
WARM_UP = 10  # steps
NEW_LIST = 20  # steps between two neighbour lists

NUMBER = r"([\d.e+-]+)"
MEASURED = re.compile(  # seconds in the model before and after the steps, and of the steps
    rf"^\s*Step\s+c_model\[1\]\s*\d+\s+{NUMBER}\s+\d+\s+{NUMBER}\s+Loop time of {NUMBER}", re.M
)
CHOSEN = re.compile(r"^idle: mode (\w+) on", re.M)


@dataclass(frozen=True)
class Way:
    """One way to run a model in LAMMPS; a mode of None leaves the choice to the plugin."""

    mode: Mode | None
    ranks: int
    kernels: Kernels


@dataclass(frozen=True)
class Timing:
    """Medians over rounds in which all ways took turns.

    Attributes
    ----------
    way
        How it was run, with the mode and the kernels that were taken.
    step_ms
        A step of dynamics.
    outside_ms
        What of it is not the model, the mean of all ranks: neighbour lists, edges, forces,
        integration, communication, and waiting for the slowest rank.
    katom_steps_per_s, ns_per_day
        Thousands of atoms times steps per second, and speed at the timestep.
    why_not
        Why it could not be run; then the others are None.
    """

    way: Way
    step_ms: float | None = None
    outside_ms: float | None = None
    katom_steps_per_s: float | None = None
    ns_per_day: float | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class Report:
    """Timings of one structure."""

    atoms: int
    timings: list[Timing]


@dataclass(frozen=True)
class _Sample:
    way: Way
    step_ms: float
    outside_ms: float


def bench_lammps(
    path: str | Path,
    atoms: ase.Atoms,
    *,
    ranks: Sequence[int] = (1, 2),
    modes: Sequence[Mode | None] = (None,),
    kernels: Sequence[Kernels] = ("auto",),
    timestep_fs: float = 0.5,
    steps: int = 40,
    rounds: int = 3,
) -> Report:
    """Time dynamics of a structure, by every way to run the model; all take turns.

    Every sample is a process of its own, with one thread for each rank, some steps to warm up, and
    a neighbour list every 20 steps.

    Parameters
    ----------
    path
        Of a deployed model.
    atoms
        A reasonable start: dynamics at constant energy begins at 300 K.
    ranks, modes, kernels
        See :func:`~idle_md.engines.lammps.single_point.evaluate_lammps`.
    timestep_fs
        Length of a step.
    steps, rounds
        Length of a sample, best a multiple of 20 steps, and samples of every way.

    Raises
    ------
    ModuleNotFoundError
        If LAMMPS is not installed, or the plugin not built; names the remedy.
    LammpsError
        If the model runs in none of the ways.
    """
    structure = place(atoms)
    samples: dict[Way, list[_Sample]] = {Way(*way): [] for way in product(modes, ranks, kernels)}
    failed: dict[Way, str] = {}
    for _ in range(rounds):
        for way in [each for each in samples if each not in failed]:
            try:
                samples[way].append(_sample(path, structure, way, timestep_fs, steps))
            except ValueError as error:
                failed[way] = str(error)
    if len(failed) == len(samples):
        raise LammpsError("; ".join(dict.fromkeys(failed.values())) or "there is nothing to time")
    return Report(
        atoms=len(atoms),
        timings=[
            Timing(way, why_not=failed[way])
            if way in failed
            else _timing(taken, len(atoms), timestep_fs)
            for way, taken in samples.items()
        ],
    )


def water_boxes(path: str | Path, sizes: Sequence[int]) -> list[ase.Atoms]:
    """Return periodic cubes of water with about so many atoms, at the density of the liquid.

    Raises
    ------
    ValueError
        If the model of that path does not know hydrogen and oxygen.
    """
    known = load(path, kernels="portable").metadata.elements
    if not {1, 8} <= set(known):
        raise ValueError(
            f"the model knows {', '.join(symbols(known))}, the default structures are water: "
            "give a structure of its elements"
        )
    molecule = ase.build.molecule("H2O", cell=[SPACING] * 3, pbc=True)
    return [molecule.repeat(max(1, round((size / 3) ** (1 / 3)))) for size in sizes]


def _sample(
    path: str | Path, structure: Structure, way: Way, timestep_fs: float, steps: int
) -> _Sample:
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="idle_md-") as name:
        data = Path(name) / "start.data"
        write_data(structure, data)
        commands = set_up(structure, data, Path(path).resolve(), way.mode, way.kernels)
        commands += _dynamics(timestep_fs, steps)
        run_process(commands, Path(name), way.ranks, listen=lines.append)
    text = "\n".join(lines)
    before, after, seconds = map(float, MEASURED.findall(text)[-1])
    mode, native = CHOSEN.findall(text)[-1], "idle: runs on native operators" in text
    return _Sample(
        Way(mode, way.ranks, "native" if native else "portable"),
        step_ms=1e3 * seconds / steps,
        outside_ms=1e3 * (seconds - (after - before) / way.ranks) / steps,
    )


def _dynamics(timestep_fs: float, steps: int) -> list[str]:
    return [
        f"velocity all create {TEMPERATURE_K} 1 dist gaussian mom yes",
        "fix move all nve",
        f"neigh_modify every {NEW_LIST} delay 0 check no",
        f"timestep {timestep_fs / 1000:.17g}",
        "compute model all pair idle",
        "thermo_style custom step c_model[1]",
        "thermo_modify format float %.9g",
        "thermo 0",
        f"run {WARM_UP}",
        f"run {steps}",
    ]


def _timing(samples: Sequence[_Sample], atoms: int, timestep_fs: float) -> Timing:
    step_ms = statistics.median(sample.step_ms for sample in samples)
    return Timing(
        samples[0].way,
        step_ms=step_ms,
        outside_ms=statistics.median(sample.outside_ms for sample in samples),
        katom_steps_per_s=atoms / step_ms,
        ns_per_day=ns_per_day(1, timestep_fs, 1e-3 * step_ms),
    )
