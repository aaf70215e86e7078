"""`idle-md evaluate`."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[Path, typer.Argument(help="Checkpoint (.ckpt) or exported model (.pt).")],
    data: Annotated[str, typer.Argument(help="Shipped data set, .h5 store or .extxyz file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the errors of a model on labelled geometries, by role and fidelity."""
    import json

    from rich.markup import escape
    from rich.table import Table

    from idle_md.terminal import make_console, print_table
    from idle_md.train.errors import errors_of_file

    errors = errors_of_file(model, data)
    if as_json:
        typer.echo(json.dumps(errors, indent=2))
        return
    table = Table(title=escape(f"{model} on {data}: mean absolute errors"))
    table.add_column("role")
    table.add_column("fidelity")
    headings = ("E, meV", "E, meV/atom", "relative E, meV", "F, meV/Å", "energies", "forces")
    for heading in headings:
        table.add_column(heading, justify="right")
    for role, by_fidelity in errors.items():
        for fidelity, row in by_fidelity.items():
            cells = ["-" if v is None else f"{v:,.1f}" for v in list(row.values())[:4]]
            table.add_row(role, fidelity, *cells, str(row["n_energies"]), str(row["n_forces"]))
    print_table(table, make_console())
