"""What is printed, in full: on a terminal of any width, in a file and in a pipe."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

KINDS = {"energy": "energies", "forces": "geometries with forces", "stress": "stresses"}
WIDEST = 10_000  # columns: more than any table has
_IS_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quietly(is_quiet: bool = True) -> Iterator[None]:
    """Have consoles that are made within print nothing."""
    before = _IS_QUIET.set(is_quiet)
    try:
        yield
    finally:
        _IS_QUIET.reset(before)


def make_console(**settings: Any) -> Console:
    """Return a console that cuts nothing.

    On a terminal lines and the cells of tables are broken between words to fit, and within words in
    columns whose overflow is ``fold``; where that is not enough a table is wider than the terminal.
    Anywhere else they are as long and as wide as they need to be. Title and caption of a table are
    lines of their own, above and below. Text is printed as it is: brackets are no markup.

    Parameters
    ----------
    settings
        Those of rich's ``Console``.
    """
    usual = {"markup": False, "highlight": False, "quiet": _IS_QUIET.get()}
    console = _Console(**usual | settings)
    console.soft_wrap = not console.is_terminal
    return console


class _Console(Console):
    def print(self, *objects: Any, **settings: Any) -> None:
        if len(objects) == 1 and isinstance(objects[0], Table):
            self._print_table(objects[0])
        else:
            super().print(*objects, **settings)

    def _print_table(self, table: Table) -> None:
        title, caption, table.title, table.caption = table.title, table.caption, None, None
        every_width = self.options.update(max_width=WIDEST)
        for column in table.columns:
            if column.overflow != "fold":
                cells = (column.header, *column.cells)
                widths = [Measurement.get(self, every_width, cell) for cell in cells]
                column.min_width = max(w.maximum if column.no_wrap else w.minimum for w in widths)
        if not self.is_terminal:
            table.width = Measurement.get(self, every_width, table).maximum
        if title:
            super().print(title, style="table.title", soft_wrap=True)
        super().print(table, crop=False, soft_wrap=False)
        if caption:
            super().print(caption, style="table.caption", soft_wrap=True)


def label_table(title: str, counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    """Return a table of how many labels there are, by fidelity, split and kind."""
    table = Table("fidelity", "split", title=title)
    rows = [(f, split, kinds) for f, splits in counts.items() for split, kinds in splits.items()]
    shown = [kind for kind in KINDS if any(kind in kinds for *_, kinds in rows)]
    for kind in shown:
        table.add_column(KINDS[kind], justify="right")
    for fidelity, split, kinds in rows:
        table.add_row(fidelity, split, *(f"{kinds[kind]:,}" for kind in shown))
    return table
