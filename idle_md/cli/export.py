"""`idle-md export`."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.ckpt of a run folder.")],
    fidelity: Annotated[
        str | None, typer.Option(help="Level whose head is kept; default: the run's target.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "model.pt"
    ),
) -> None:
    """Write one fidelity of a checkpoint to a model file that every engine loads."""
    from idle_md.deploy import export_checkpoint

    metadata = export_checkpoint(checkpoint, fidelity, output)
    level = metadata.level_of_theory
    title = f" ({level.title})" if level else ""
    typer.echo(f"{output}: {metadata.fidelity}{title}, cutoff {metadata.cutoff_angstrom:g} Å")
