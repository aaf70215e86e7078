"""`idle-md build-plugins`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.verb import next_steps

OPTIONAL = "NNPOps"


def build_plugins(
    folder: Annotated[
        Path | None, typer.Option(help="Compile here and keep it; default: a temporary folder.")
    ] = None,
    ops: Annotated[bool, typer.Option("--ops", help="The native operators alone.")] = False,
    lammps: Annotated[bool, typer.Option("--lammps", help="The plugin for LAMMPS alone.")] = False,
    nnpops: Annotated[
        bool,
        typer.Option(
            "--nnpops",
            help="NNPOps' search for neighbours alone, from --source.",
            rich_help_panel=OPTIONAL,
        ),
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            help="For --nnpops: a clone of github.com/openmm/NNPOps.", rich_help_panel=OPTIONAL
        ),
    ] = None,
) -> None:
    """Compile the native operators, with which models run several times faster.

    And, where LAMMPS is installed, the plugin with which it runs them.

    Examples
    --------
    idle-md build-plugins
    idle-md build-plugins --ops
    idle-md build-plugins --nnpops --source NNPOps
    """
    from idle_md.native.build import build_lammps, build_nnpops, build_operators, has_lammps
    from idle_md.terminal import make_console

    if nnpops != (source is not None):
        raise ValueError(
            "--nnpops and --source go together: `git clone https://github.com/openmm/NNPOps`, then "
            "`idle-md build-plugins --nnpops --source NNPOps`"
        )
    console = make_console()
    is_all = not (ops or lammps or nnpops)
    if ops or is_all:
        console.print(f"native operators: {build_operators(folder)}")
    if lammps or (is_all and has_lammps()):
        console.print(f"plugin for LAMMPS: {build_lammps(folder)}")
    if source is not None:
        console.print(f"NNPOps: {build_nnpops(source, folder)}")
    next_steps(console, ("doctor",))
