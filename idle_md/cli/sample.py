"""`idle-md sample`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.options import Jobs, Scheduler
from idle_md.cli.shared.verb import ExitCode, next_steps

GEOMETRIES = "How geometries are made"
MOLECULES = "Of several molecules"
HELD_OUT = "Held out"


def sample(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Structure files (XYZ, SDF, PDB) or stores (.h5, .extxyz)."),
    ] = None,
    smiles: Annotated[
        list[str] | None,
        typer.Option(help="SMILES, 'SMILES name' or a file of such lines; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Store to write (.h5).")] = Path(
        "geometries.h5"
    ),
    frames: Annotated[int, typer.Option(min=1, help="Geometries of each molecule.")] = 100,
    mix: Annotated[
        str,
        typer.Option(
            help="Shares of dynamics, normal modes, torsion scans, stretches.",
            rich_help_panel=GEOMETRIES,
        ),
    ] = "md=0.5,modes=0.4,torsions=0.1",
    dimers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Pairs with the next molecule, for each molecule.",
            rich_help_panel=MOLECULES,
        ),
    ] = 0,
    transfers: Annotated[
        int,
        typer.Option(
            min=0, help="Of such pairs with a proton between the two.", rich_help_panel=MOLECULES
        ),
    ] = 0,
    clusters: Annotated[
        int, typer.Option(min=0, help="Of each molecule with water.", rich_help_panel=MOLECULES)
    ] = 0,
    waters: Annotated[
        int, typer.Option(min=1, help="In a cluster, at most.", rich_help_panel=MOLECULES)
    ] = 3,
    temperature: Annotated[
        list[float] | None,
        typer.Option(
            help="In kelvin, repeatable; default: 300, 600, 1000.", rich_help_panel=GEOMETRIES
        ),
    ] = None,
    conformers: Annotated[
        int, typer.Option(min=1, help="To start from, at most.", rich_help_panel=GEOMETRIES)
    ] = 4,
    level: Annotated[
        str, typer.Option(help="Level of theory of dynamics and modes.", rich_help_panel=GEOMETRIES)
    ] = "gfn2",
    interval_fs: Annotated[
        float, typer.Option(help="Between frames of dynamics.", rich_help_panel=GEOMETRIES)
    ] = 20.0,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            help="Geometries whose distances differ by less repeat, Å.",
            rich_help_panel=GEOMETRIES,
        ),
    ] = 0.02,
    role: Annotated[
        str, typer.Option(help="train, validation, test, ood, or none.", rich_help_panel=HELD_OUT)
    ] = "",
    test: Annotated[
        int,
        typer.Option(min=0, help="Geometries of each molecule for test.", rich_help_panel=HELD_OUT),
    ] = 0,
    seed: Annotated[
        int, typer.Option(help="Of everything that is drawn.", rich_help_panel=GEOMETRIES)
    ] = 0,
    jobs: Jobs = None,
    scheduler: Scheduler = None,
) -> None:
    """Make geometries of molecules: dynamics, normal modes, torsions, stretches, clusters.

    Exit code 3 if a molecule was not sampled.

    Examples
    --------
    idle-md sample --smiles CCO --smiles 'NCC(=O)O glycine' --frames 200 -o set.h5
    idle-md sample start.xyz --temperature 300 --test 10 -o set.h5
    idle-md sample --smiles O --clusters 20 --waters 4 -o clusters.h5
    """
    from idle_md.label.sampling import SampleConfig, from_file, from_smiles
    from idle_md.label.sampling import sample as run
    from idle_md.progress import LongTask
    from idle_md.terminal import make_console

    console = make_console()
    molecules = from_smiles(smiles or [])
    for path in sources or []:
        molecules += from_file(path)
    config = SampleConfig(
        frames=frames,
        mix=_shares(mix),
        dimers=dimers,
        transfers=transfers,
        clusters=clusters,
        waters=waters,
        temperatures=temperature or [300.0, 600.0, 1000.0],
        conformers=conformers,
        level=level,
        interval_fs=interval_fs,
        tolerance=tolerance,
        role=role,
        test=test,
        seed=seed,
    )
    with LongTask("molecules", console) as shown:
        store, failures = run(
            molecules,
            config,
            out,
            jobs=jobs,
            scheduler=scheduler,
            progress=shown.update,
        )
    for name, problem in failures.items():
        console.print(f"not sampled: {name}: {problem}", style="yellow")
    n_molecules = len(set(store.group.tolist()))
    console.print(f"{out}: {store.n_geometries} geometries of {n_molecules} molecules")
    next_steps(console, ("label", out, "--level", "gfn2"))
    if failures:
        raise typer.Exit(ExitCode.NOT_ALL_WELL)


def _shares(text: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(share) for name, share in pairs}
    except ValueError as error:
        raise ValueError(f"--mix {text!r}: write shares such as md=0.5,modes=0.5") from error
