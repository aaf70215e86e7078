"""How far a long command is: a bar on a terminal, a line every half minute elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0


class LongTask:
    """Shows how much of a task is done; a context manager.

    Parameters
    ----------
    title
        What is done.
    console
        Where to show it.
    clock
        Gives the seconds since some time.
    """

    def __init__(
        self, title: str, console: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title, self._console, self._clock = title, console, clock
        self._begun = self._shown = clock()
        self._bar = Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=None, told="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, done: int, total: int, failed: int = 0, note: str = "") -> None:
        """Say that so many of ``total`` are done, and ``failed`` more came to nothing.

        ``note`` is shown beside them, such as a speed.
        """
        told = ", ".join(filter(None, (f"{failed} failed" if failed else "", note)))
        self._bar.update(self._task, completed=done + failed, total=total, told=told)
        now = self._clock()
        if self._console.is_terminal or now - self._shown < SECONDS_BETWEEN_LINES:
            return
        self._shown, finished = now, done + failed
        rate = finished / (now - self._begun)
        left = f"{(total - finished) / rate:.0f} s left" if finished else "time left unknown"
        parts = [f"{finished} of {total}", told, f"{rate:.3g} per s", left]
        self._console.print(f"{self._title}: {', '.join(filter(None, parts))}")
