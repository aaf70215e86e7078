"""`idle-md export`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.verb import next_steps
from idle_md.run_folder import RunFolder


def export(
    checkpoint: Annotated[
        list[Path],
        typer.Argument(help=f"{RunFolder.BEST} or run folder; several make a committee."),
    ],
    fidelity: Annotated[
        str | None, typer.Option(help="Level whose head is kept; default: the run's target.")
    ] = None,
    closed_form: Annotated[
        bool,
        typer.Option(
            "--closed-form", help="What adapt found as it is: a difference to a live level."
        ),
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "model.pt"
    ),
) -> None:
    """Write one fidelity of a checkpoint, or of several, to a model file for every engine.

    Examples
    --------
    idle-md export runs/mine/best.ckpt -o model.pt
    idle-md export runs/mine --fidelity gfn2 -o low.pt
    idle-md export runs/a runs/b runs/c -o committee.pt
    """
    from idle_md.deploy import export_checkpoint
    from idle_md.terminal import make_console

    metadata = export_checkpoint(checkpoint, fidelity, output, closed_form)
    level = metadata.level_of_theory
    title = f" ({level.title})" if level else ""
    size = f", committee of {metadata.members}" if metadata.members > 1 else ""
    console = make_console()
    console.print(
        f"{output}: {metadata.fidelity}{title}, cutoff {metadata.cutoff_angstrom:g} Å{size}"
    )
    next_steps(console, ("check", output), ("md", output, "START"))
