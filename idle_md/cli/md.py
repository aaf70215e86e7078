"""`idle-md md`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import ase

    from idle_md.engines.lammps.dynamics import LammpsMDResult
    from idle_md.engines.openmm.dynamics import MDResult
    from idle_md.engines.openmm.mixed import Surroundings

WITHIN = "Model within a force field"
GOING_ON = "Restart files"
IN_OPENMM = "OpenMM alone"
IN_LAMMPS = "LAMMPS alone"


class Engine(str, Enum):
    """Engines that can run a model."""

    openmm = "openmm"
    lammps = "lammps"


SERVED_BY = {
    "hydrogen_mass": Engine.openmm,
    "mm": Engine.openmm,
    "ml_residues": Engine.openmm,
    "ml_chain": Engine.openmm,
    "ml_atoms": Engine.openmm,
    "max_stretch": Engine.openmm,
    "max_spread": Engine.openmm,
    "spread_file": Engine.openmm,
    "backend": Engine.openmm,
    "platform": Engine.openmm,
    "ranks": Engine.lammps,
    "mode": Engine.lammps,
}
"""Options that one engine alone has."""


class Ensemble(str, Enum):
    """What is held constant."""

    nve = "nve"
    nvt = "nvt"
    npt = "npt"


class Backend(str, Enum):
    """How OpenMM calls the model."""

    auto = "auto"
    torchforce = "torchforce"
    pythontorchforce = "pythontorchforce"
    pythonforce = "pythonforce"


class Mode(str, Enum):
    """What ghost atoms are in LAMMPS."""

    fold = "fold"
    ghost = "ghost"
    local = "local"


class Kernels(str, Enum):
    """What calculates the model."""

    auto = "auto"
    native = "native"
    portable = "portable"


def md(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="Exported model.")],
    structure: Annotated[Path, typer.Argument(help="Start: .pdb, .xyz or what ASE reads.")],
    engine: Annotated[Engine, typer.Option(help="Engine.")] = Engine.openmm,
    ensemble: Annotated[Ensemble, typer.Option(help="NVE, NVT (Langevin) or NPT.")] = Ensemble.nvt,
    temperature: Annotated[float, typer.Option(help="Temperature in K.")] = 300.0,
    pressure: Annotated[float, typer.Option(help="Pressure in bar, for npt.")] = 1.0,
    friction: Annotated[float, typer.Option(help="Langevin friction in 1/ps.")] = 1.0,
    timestep: Annotated[float, typer.Option(help="Timestep in fs.")] = 0.5,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.")] = 10_000,
    interval: Annotated[int, typer.Option(min=1, help="Steps between frames.")] = 100,
    minimize: Annotated[bool, typer.Option("--minimize", help="Relax the start first.")] = False,
    hydrogen_mass: Annotated[
        float | None,
        typer.Option(
            help="Mass of hydrogen in amu, taken from the atoms it is bonded to.",
            rich_help_panel=IN_OPENMM,
        ),
    ] = None,
    trajectory: Annotated[
        Path | None, typer.Option(help="File to write: .xyz, .dcd, .xtc, OpenMM's .pdb.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Restart file to write, the engine's own.", rich_help_panel=GOING_ON),
    ] = None,
    checkpoint_interval: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between them; --interval.", rich_help_panel=GOING_ON),
    ] = None,
    restart: Annotated[
        Path | None,
        typer.Option(
            help="Restart file to go on from, for --steps more; appends to its trajectory.",
            rich_help_panel=GOING_ON,
        ),
    ] = None,
    mm: Annotated[
        list[str] | None,
        typer.Option(
            help="Force field file for what the model does not describe, such as amber14-all.xml; "
            "can be repeated. Name the model's part with the options below.",
            rich_help_panel=WITHIN,
        ),
    ] = None,
    ml_residues: Annotated[
        str | None, typer.Option(help='Residue names, "LIG,ACE".', rich_help_panel=WITHIN)
    ] = None,
    ml_chain: Annotated[
        str | None, typer.Option(help='Chains, "A".', rich_help_panel=WITHIN)
    ] = None,
    ml_atoms: Annotated[
        str | None, typer.Option(help='Indices from 0, "0-21,30".', rich_help_panel=WITHIN)
    ] = None,
    max_stretch: Annotated[
        float,
        typer.Option(
            min=0,
            help="Stop where a bond is longer than this many sums of covalent radii; 0 never does.",
            rich_help_panel=IN_OPENMM,
        ),
    ] = 2.0,
    max_spread: Annotated[
        float | None,
        typer.Option(
            help="Stop where a committee's forces spread by more than this, eV/Å.",
            rich_help_panel=IN_OPENMM,
        ),
    ] = None,
    spread_file: Annotated[
        Path | None,
        typer.Option(
            help="CSV file for a committee's spread; spread.csv with --max-spread.",
            rich_help_panel=IN_OPENMM,
        ),
    ] = None,
    backend: Annotated[
        Backend, typer.Option(help="How OpenMM runs it.", rich_help_panel=IN_OPENMM)
    ] = Backend.auto,
    kernels: Annotated[
        Kernels, typer.Option(help="Native operators (idle-md build-plugins) or the model's graph.")
    ] = Kernels.auto,
    platform: Annotated[
        str | None, typer.Option(help="OpenMM platform.", rich_help_panel=IN_OPENMM)
    ] = None,
    ranks: Annotated[int, typer.Option(min=1, help="MPI ranks.", rich_help_panel=IN_LAMMPS)] = 1,
    mode: Annotated[
        Mode | None,
        typer.Option(help="What ghost atoms are; the best by default.", rich_help_panel=IN_LAMMPS),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of torch; by default one in LAMMPS or a small system."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of velocities and thermostat.")] = 0,
) -> None:
    """Run molecular dynamics with an exported model."""
    _check_served(context, engine)
    surroundings, atoms = _read(structure, mm or [], ml_residues, ml_chain, ml_atoms)
    settings: dict[str, Any] = {
        "ensemble": ensemble.value,
        "temperature_K": temperature,
        "pressure_bar": pressure,
        "friction_per_ps": friction,
        "timestep_fs": timestep,
        "steps": steps,
        "interval": interval,
        "minimize": minimize,
        "trajectory": trajectory,
        "checkpoint": checkpoint,
        "checkpoint_interval": checkpoint_interval,
        "restart": restart,
        "kernels": kernels.value,
        "seed": seed,
    }
    result: LammpsMDResult | MDResult
    with _progress(engine.value, steps) as settings["progress"]:
        if engine is Engine.lammps:
            from idle_md.engines.lammps.dynamics import run_lammps_md

            result = run_lammps_md(
                model,
                atoms,
                mode=None if mode is None else mode.value,
                ranks=ranks,
                threads=threads or 1,
                **settings,
            )
            by = f"LAMMPS on {ranks} MPI rank{'s' if ranks > 1 else ''}"
        else:
            from idle_md.engines.openmm.dynamics import run_md

            result = run_md(
                model,
                atoms,
                hydrogen_mass=hydrogen_mass,
                max_stretch=max_stretch or None,
                spread_threshold=max_spread,
                spread_file=spread_file,
                surroundings=surroundings,
                backend=backend.value,
                platform=platform,
                threads=threads,
                **settings,
            )
            by = f"OpenMM {result.platform} through {result.backend}"
    _print(result, by, trajectory, checkpoint)


def _check_served(context: typer.Context, engine: Engine) -> None:
    """Refuse what the user has given that the engine does not serve."""
    for name, served in SERVED_BY.items():
        source = context.get_parameter_source(name)
        if served is not engine and source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{option} is for --engine {served.value}, not {engine.value}: leave one out"
            )


@contextmanager
def _progress(name: str, steps: int) -> Iterator[Callable[[int, float], None]]:
    """A function that shows the steps done and the speed in ns/day."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"), BarColumn())
    speed = TextColumn("{task.fields[speed]:.2f} ns/day")
    with Progress(*columns, speed, TimeRemainingColumn()) as progress:
        bar = progress.add_task(name, total=steps, speed=0.0)
        yield lambda done, rate: progress.update(bar, completed=done, speed=rate)


def _print(
    result: "LammpsMDResult | MDResult", by: str, trajectory: Path | None, checkpoint: Path | None
) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"{result.steps:,} steps, {result.ns_per_day:.2f} ns/day, {by}")
    if result.nve_drift_mev_per_atom_per_ps is not None:
        console.print(f"energy drift {result.nve_drift_mev_per_atom_per_ps:.4f} meV/atom/ps")
    if trajectory is not None:
        console.print(f"trajectory: {trajectory}")
    if checkpoint is not None:
        console.print(f"restart file: {checkpoint}")


def _read(
    structure: Path, mm: list[str], residues: str | None, chains: str | None, atoms: str | None
) -> tuple["Surroundings | None", "ase.Atoms"]:
    """Read the structure, and what a force field describes of it."""
    if not mm:
        if residues or chains or atoms:
            raise ValueError("a part for the model needs a force field for the rest: give --mm")
        from idle_md.structures import read_structure

        return None, read_structure(structure)
    from idle_md.engines.openmm.mixed import read_surroundings

    return read_surroundings(
        structure, mm, residues=_names(residues), chains=_names(chains), atoms=_indices(atoms)
    )


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _indices(text: str | None) -> list[int]:
    """Return the numbers of ``"0-3,7"``."""
    chosen: list[int] = []
    for part in _names(text):
        first, _, last = part.partition("-")
        try:
            chosen += range(int(first), int(last or first) + 1)
        except ValueError as error:
            raise ValueError(f"--ml-atoms {part!r}: indices are like 0-21,30") from error
    return chosen
