"""How fast a deployed model runs in LAMMPS, by mode, MPI ranks and kernels."""

import re
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import ase
import ase.build

from idle_md.deploy import load
from idle_md.deploy.kernels import Kernels
from idle_md.elements import symbols
from idle_md.engines.benchmark import Report, Timing
from idle_md.engines.choices import Mode
from idle_md.engines.lammps.engine import LammpsEngine
from idle_md.engines.lammps.input import Structure, place, set_up, write_data
from idle_md.engines.lammps.process import LammpsError, check_there, run_process
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


class Options(NamedTuple):
    """How LAMMPS is asked to run a model; a mode of None leaves the choice to the plugin."""

    mode: Mode | None
    ranks: int
    kernels: Kernels


@dataclass(frozen=True)
class _Sample:
    way: Options
    step_ms: float
    overhead_ms: float


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
    device: str = "cpu",
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
    ranks, modes, kernels, device
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
    check_there()
    structure, model = place(atoms), load(path, kernels="portable")
    ways = [Options(*way) for way in product(modes, ranks, kernels)]
    samples: dict[Options, list[_Sample]] = {way: [] for way in ways}
    reasons = {way: LammpsEngine(way.mode, way.ranks).why_not(model) for way in ways}
    failed = {way: reason for way, reason in reasons.items() if reason is not None}
    for _ in range(rounds):
        for way in [each for each in samples if each not in failed]:
            try:
                samples[way].append(_sample(path, structure, way, timestep_fs, steps, device))
            except ValueError as error:
                failed[way] = str(error)
    if len(failed) == len(samples):
        raise LammpsError("; ".join(dict.fromkeys(failed.values())) or "there is nothing to time")
    return Report(
        atoms=len(atoms),
        timings=[
            Timing(way._asdict(), why_not=failed[way])
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
    path: str | Path,
    structure: Structure,
    way: Options,
    timestep_fs: float,
    steps: int,
    device: str,
) -> _Sample:
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="idle_md-") as name:
        data = Path(name) / "start.data"
        write_data(structure, data)
        model = Path(path).resolve()
        commands = set_up(structure, data, model, way.mode, way.kernels, device=device)
        commands += _dynamics(timestep_fs, steps)
        run_process(commands, Path(name), way.ranks, listen=lines.append)
    text = "\n".join(lines)
    before, after, seconds = map(float, MEASURED.findall(text)[-1])
    mode, native = CHOSEN.findall(text)[-1], "idle: runs on native operators" in text
    return _Sample(
        Options(mode, way.ranks, "native" if native else "portable"),
        step_ms=1e3 * seconds / steps,
        overhead_ms=1e3 * (seconds - (after - before) / way.ranks) / steps,
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
        samples[0].way._asdict(),
        step_ms=step_ms,
        core_ms=statistics.median(sample.step_ms - sample.overhead_ms for sample in samples),
        overhead_ms=statistics.median(sample.overhead_ms for sample in samples),
        katom_steps_per_s=atoms / step_ms,
        ns_per_day=ns_per_day(1, timestep_fs, step_ms * 1e-3),
    )
