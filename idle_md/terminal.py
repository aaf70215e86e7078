"""What is printed, in full: on a terminal of any width, in a file and in a pipe."""

from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST = 10_000  # columns: more than any table has


def make_console(**settings: Any) -> Console:
    """Return a console that breaks lines on a terminal alone; ``settings`` are those of rich's."""
    console = Console(**settings)
    console.soft_wrap = not console.is_terminal
    return console


def print_table(table: Table, console: Console) -> None:
    """Print a table no cell of which is cut.

    On a terminal text is broken between words to fit, and within them in columns whose overflow is
    ``fold``; where that is not enough the table is wider than the terminal. Anywhere else it is as
    wide as it needs to be. Title and caption are lines of their own, above and below.
    """
    title, caption, table.title, table.caption = table.title, table.caption, None, None
    every_width = console.options.update(max_width=WIDEST)
    for column in table.columns:
        if column.overflow != "fold":
            cells = (column.header, *column.cells)
            widths = [Measurement.get(console, every_width, cell) for cell in cells]
            column.min_width = max(w.maximum if column.no_wrap else w.minimum for w in widths)
    if not console.is_terminal:
        table.width = Measurement.get(console, every_width, table).maximum
    if title:
        console.print(title, style="table.title", soft_wrap=True)
    console.print(table, crop=False, soft_wrap=False)
    if caption:
        console.print(caption, style="table.caption", soft_wrap=True)
