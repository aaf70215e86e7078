"""`idle-md quickstart`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.options import PROCESSES
from idle_md.cli.shared.verb import next_steps


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("runs/quickstart"),
    minutes: Annotated[float, typer.Option(min=0.01, help="Training time of each model.")] = 3.0,
    labels: Annotated[
        int, typer.Option(min=2, help="Geometries with wB97X energies and forces.")
    ] = 72,
    picoseconds: Annotated[float, typer.Option(min=0.01, help="Length of each trajectory.")] = 20.0,
    threads: Annotated[
        int | None,
        typer.Option(
            help="CPU threads of each training; default: half the cores.", rich_help_panel=PROCESSES
        ),
    ] = None,
) -> None:
    """Train IDLe and a single-fidelity model on shipped data, export both, run MD, report.

    Examples
    --------
    idle-md quickstart
    idle-md quickstart --minutes 1 --picoseconds 5 --out runs/short
    """
    from idle_md.quickstart import run
    from idle_md.terminal import make_console

    console = make_console()
    run(out, minutes, labels, picoseconds, threads, console)
    own = ("potential", "CC(=O)NC", "--level", "wb97x/6-31g*", "--labels", 40, "--out", "runs/mine")
    next_steps(console, own)
