"""`idle-md build-plugins`."""

from pathlib import Path
from typing import Annotated

import typer


def build_plugins(
    folder: Annotated[
        Path | None, typer.Option(help="Compile here and keep it; default: a temporary folder.")
    ] = None,
    ops: Annotated[bool, typer.Option("--ops", help="The native operators alone.")] = False,
    lammps: Annotated[bool, typer.Option("--lammps", help="The plugin for LAMMPS alone.")] = False,
) -> None:
    """Compile the native operators, with which models run several times faster.

    And, where LAMMPS is installed, the plugin with which it runs them.
    """
    from idle_md.deploy.build import build_lammps, build_operators, has_lammps

    if ops or not lammps:
        typer.echo(f"native operators: {build_operators(folder)}")
    if lammps or (not ops and has_lammps()):
        typer.echo(f"plugin for LAMMPS: {build_lammps(folder)}")
