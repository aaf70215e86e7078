"""Arguments and options that several verbs have."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.models import shipped


def shipped_names(incomplete: str) -> list[str]:
    """Complete the name of a shipped model; the shell completes files where there is none."""
    return [name for name in shipped() if name.startswith(incomplete)]


Model = Annotated[
    Path,
    typer.Argument(
        help="Exported model, or the name of a shipped one, such as idle-s.",
        autocompletion=shipped_names,
    ),
]
MODEL_PANEL = "How the model is run"
Fidelity = Annotated[
    str | None,
    typer.Option(
        help="Of a shipped model, such as gfn2; default: its best.", rich_help_panel=MODEL_PANEL
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Where the model runs: cpu, cuda, or cuda:1 of several GPUs.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
PROCESSES = "Processes"
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, max=1024, help="Processes; default: one per core.", rich_help_panel=PROCESSES
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Address of a running Dask scheduler, tcp://HOST:PORT.", rich_help_panel=PROCESSES
    ),
]
