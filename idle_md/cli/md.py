"""`idle-md md`."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Engine(str, Enum):
    """Engines that can run a model."""

    openmm = "openmm"


class Ensemble(str, Enum):
    """What is held constant."""

    nve = "nve"
    nvt = "nvt"
    npt = "npt"


class Backend(str, Enum):
    """How OpenMM calls the model."""

    auto = "auto"
    torchforce = "torchforce"
    pythonforce = "pythonforce"


class Kernels(str, Enum):
    """What calculates the model."""

    auto = "auto"
    native = "native"
    portable = "portable"


def md(
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
    trajectory: Annotated[Path | None, typer.Option(help="File to write: .xyz or .dcd.")] = None,
    max_spread: Annotated[
        float | None,
        typer.Option(help="Stop where a committee's forces spread by more than this, eV/Å."),
    ] = None,
    spread_file: Annotated[
        Path | None,
        typer.Option(help="CSV file for a committee's spread; spread.csv with --max-spread."),
    ] = None,
    backend: Annotated[Backend, typer.Option(help="How OpenMM runs it.")] = Backend.auto,
    kernels: Annotated[
        Kernels, typer.Option(help="Native operators (idle-md build-plugins) or the model's graph.")
    ] = Kernels.auto,
    platform: Annotated[str | None, typer.Option(help="OpenMM platform.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of torch; one for small systems by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of velocities and thermostat.")] = 0,
) -> None:
    """Run molecular dynamics with an exported model."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from idle_md.engines.md import run_md
    from idle_md.engines.trajectory import read_structure

    console = Console()
    atoms = read_structure(structure)
    columns = (TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"), BarColumn())
    speed = TextColumn("{task.fields[speed]:.2f} ns/day")
    with Progress(*columns, speed, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task(engine.value, total=steps, speed=0.0)
        result = run_md(
            model,
            atoms,
            ensemble=ensemble.value,
            temperature_K=temperature,
            pressure_bar=pressure,
            friction_per_ps=friction,
            timestep_fs=timestep,
            steps=steps,
            interval=interval,
            minimize=minimize,
            trajectory=trajectory,
            spread_threshold=max_spread,
            spread_file=spread_file,
            backend=backend.value,
            kernels=kernels.value,
            platform=platform,
            threads=threads,
            seed=seed,
            progress=lambda done, rate: progress.update(bar, completed=done, speed=rate),
        )
    line = f"{result.steps:,} steps, {result.ns_per_day:.2f} ns/day, OpenMM {result.platform}"
    console.print(f"{line} through {result.backend}", highlight=False)
    if result.nve_drift_mev_per_atom_per_ps is not None:
        console.print(f"energy drift {result.nve_drift_mev_per_atom_per_ps:.4f} meV/atom/ps")
    if trajectory is not None:
        console.print(f"trajectory: {trajectory}", highlight=False)
