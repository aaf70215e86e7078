"""`idle-md build-plugins`."""

from pathlib import Path
from typing import Annotated

import typer


def build_plugins(
    folder: Annotated[
        Path | None, typer.Option(help="Compile here and keep it; default: a temporary folder.")
    ] = None,
) -> None:
    """Compile the native operators against the installed torch; models run several times faster."""
    from idle_md.deploy.build import build_operators

    typer.echo(f"native operators: {build_operators(folder)}")
