"""`idle-md doctor`."""

import typer


def doctor() -> None:
    """Say what is installed and built, and what would make things faster."""
    from rich.markup import escape
    from rich.table import Table

    from idle_md.engines.doctor import examine
    from idle_md.terminal import make_console

    table = Table()
    for heading in ("", ""):
        table.add_column(heading)
    for heading in ("found", "remedy"):
        table.add_column(heading, overflow="fold")
    colours = {"ok": "green", "missing": "yellow", "note": "dim"}
    for finding in examine():
        state = f"[{colours[finding.state]}]{finding.state}[/]"
        table.add_row(finding.what, state, escape(finding.detail), escape(finding.remedy))
    make_console().print(table)
    typer.echo("missing is what can be added; nothing of it is needed by everybody")
