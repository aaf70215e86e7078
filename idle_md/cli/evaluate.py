"""`idle-md evaluate`."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="Checkpoint (.ckpt), exported model (.pt) or the name of one.")
    ],
    data: Annotated[str, typer.Argument(help="Shipped data set, .h5 store or .extxyz file.")],
    device: Annotated[
        str, typer.Option(help="Where the model runs: cpu, cuda, or cuda:1 of several GPUs.")
    ] = "cpu",
    role: Annotated[
        list[str] | None, typer.Option(help="Only geometries of this role; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the errors of a model on labelled geometries, by role and fidelity."""
    import json

    from rich.markup import escape
    from rich.table import Table

    from idle_md.cli.error_columns import add_errors
    from idle_md.terminal import make_console
    from idle_md.train.errors import errors_of_file

    errors = errors_of_file(model, data, device, role)
    if as_json:
        typer.echo(json.dumps(errors, indent=2))
        return
    table = Table(title=escape(f"{model} on {data}: mean absolute errors"))
    table.add_column("role")
    table.add_column("fidelity")
    rows = [
        ((name, level), row) for name, levels in errors.items() for level, row in levels.items()
    ]
    add_errors(table, rows)
    make_console().print(table)
