"""Arguments and options that several verbs have."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path, typer.Argument(help="Exported model, or the name of a shipped one, such as idle-s.")
]
Fidelity = Annotated[
    str | None, typer.Option(help="Of a shipped model, such as gfn2; default: its best.")
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a running Dask scheduler, tcp://HOST:PORT.")
]
