"""`idle-md evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.options import Device, Json
from idle_md.cli.shared.verb import next_steps, print_json


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="Checkpoint (.ckpt), exported model (.pt) or the name of one.")
    ],
    data: Annotated[str, typer.Argument(help="Shipped data set, .h5 store or .extxyz file.")],
    role: Annotated[
        list[str] | None, typer.Option(help="Only geometries of this role; repeatable.")
    ] = None,
    as_json: Json = False,
    device: Device = "cpu",
) -> None:
    """Print the errors of a model on labelled geometries, by role and fidelity.

    Examples
    --------
    idle-md evaluate runs/mine/best.ckpt mine.h5
    idle-md evaluate idle-s chno-mini --role test --json
    """
    from rich.table import Table

    from idle_md.cli.shared.error_columns import add_errors
    from idle_md.terminal import make_console
    from idle_md.train.errors import errors_of_file

    errors = errors_of_file(model, data, device, role)
    if as_json:
        print_json(errors)
        return
    table = Table(title=f"{model} on {data}: mean absolute errors")
    table.add_column("role")
    table.add_column("fidelity")
    rows = [
        ((name, level), row) for name, levels in errors.items() for level, row in levels.items()
    ]
    add_errors(table, rows)
    console = make_console()
    console.print(table)
    is_checkpoint = model.suffix == ".ckpt"
    next_steps(console, ("export", model) if is_checkpoint else ("md", model, "START"))
