"""`idle-md md`."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import ase

    from idle_md.engines.mixed import Surroundings

WITHIN = "Model within a force field"
GOING_ON = "Restart files"


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
    pythontorchforce = "pythontorchforce"
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
    hydrogen_mass: Annotated[
        float | None,
        typer.Option(help="Mass of hydrogen in amu, taken from the atoms it is bonded to."),
    ] = None,
    trajectory: Annotated[
        Path | None, typer.Option(help="File to write: .xyz, .dcd, .xtc or .pdb.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Restart file to write, OpenMM's State.", rich_help_panel=GOING_ON),
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
        ),
    ] = 2.0,
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

    console = Console()
    surroundings, atoms = _read(structure, mm or [], ml_residues, ml_chain, ml_atoms)
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
            hydrogen_mass=hydrogen_mass,
            minimize=minimize,
            trajectory=trajectory,
            checkpoint=checkpoint,
            checkpoint_interval=checkpoint_interval,
            restart=restart,
            max_stretch=max_stretch or None,
            spread_threshold=max_spread,
            spread_file=spread_file,
            surroundings=surroundings,
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
    if checkpoint is not None:
        console.print(f"restart file: {checkpoint}", highlight=False)


def _read(
    structure: Path, mm: list[str], residues: str | None, chains: str | None, atoms: str | None
) -> tuple["Surroundings | None", "ase.Atoms"]:
    """Read the structure, and what a force field describes of it."""
    if not mm:
        if residues or chains or atoms:
            raise ValueError("a part for the model needs a force field for the rest: give --mm")
        from idle_md.engines.trajectory import read_structure

        return None, read_structure(structure)
    from idle_md.engines.mixed import read_surroundings

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
