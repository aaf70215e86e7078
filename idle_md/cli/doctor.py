"""`idle-md doctor`."""

from typing import TYPE_CHECKING

from idle_md.cli.shared.options import Json
from idle_md.cli.shared.verb import next_steps, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from idle_md.engines.doctor import Finding

COLOURS = {"ok": "green", "missing": "yellow", "note": "dim"}


def doctor(as_json: Json = False) -> None:
    """Say what is installed and built, and what would make things faster.

    Examples
    --------
    idle-md doctor
    idle-md doctor --json
    """
    from dataclasses import asdict

    from idle_md.engines.doctor import examine
    from idle_md.native.places import find_library
    from idle_md.terminal import make_console

    findings = examine()
    if as_json:
        print_json([asdict(finding) for finding in findings])
        return
    console = make_console()
    console.print(_table(findings))
    console.print("missing is what can be added; nothing of it is needed by everybody")
    next_steps(console, ("build-plugins",) if find_library() is None else ("check", "idle-s"))


def _table(findings: "list[Finding]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("", ""):
        table.add_column(heading)
    for heading in ("found", "remedy"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        state = Text(finding.state, COLOURS[finding.state])
        table.add_row(finding.what, state, finding.detail, finding.remedy)
    return table
