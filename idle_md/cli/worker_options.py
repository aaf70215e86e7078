"""Options of all verbs that calculate labels in other processes."""

from typing import Annotated

import typer

Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a running Dask scheduler, tcp://HOST:PORT.")
]
