"""`idle-md report`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.verb import next_steps


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a finished training.")],
    out: Annotated[
        Path | None, typer.Option(help="Page to write; default: report.html in the run folder.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Where the data set is now, if it was moved.")
    ] = None,
) -> None:
    """Write one page of what was trained on what, and how good it is.

    Examples
    --------
    idle-md report runs/mine
    idle-md report runs/mine --out mine.html --data moved/mine.h5
    """
    from idle_md.report import write_report
    from idle_md.terminal import make_console

    page, sentence = write_report(run, out, data)
    console = make_console()
    console.print(sentence, style="bold")
    console.print(f"Everything is in {page}")
    next_steps(console, ("export", run))
