"""`idle-md info`."""

from pathlib import Path
from typing import Annotated

import typer


def info(
    model: Annotated[Path, typer.Argument(help="Exported model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what an exported model says of itself."""
    from rich.table import Table

    from idle_md.deploy import load
    from idle_md.terminal import make_console, print_table

    metadata = load(model).metadata
    if as_json:
        typer.echo(metadata.model_dump_json(indent=2))
        return
    table = Table(title=str(model), show_header=False)
    for key, value in metadata.model_dump(mode="json").items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for number, (name, part) in enumerate(parts):
            table.add_row("" if number else key, f"{name} {part}".strip())
    print_table(table, make_console())
