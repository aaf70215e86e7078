"""Long commands say how far they are wherever they run."""

from io import StringIO

from idle_md.progress import LongTask
from idle_md.terminal import make_console


def shown(terminal: bool, times: list[float], updates: list[tuple[int, ...]]) -> str:
    console = make_console(file=StringIO(), force_terminal=terminal, width=120)
    clock = iter([0.0, *times])
    with LongTask("gfn2", console, lambda: next(clock)) as task:
        for each in updates:
            task.update(*each)
    return console.file.getvalue()


def test_a_file_gets_a_line_every_half_minute() -> None:
    updates = [(1, 200), (10, 200, 1), (35, 200, 5), (36, 200, 5), (0, 200, 80)]
    lines = shown(False, [1.0, 29.0, 40.0, 69.0, 80.0], updates).splitlines()
    assert lines == [
        "gfn2: 40 of 200, 5 failed, 1 per s, 160 s left",
        "gfn2: 80 of 200, 80 failed, 1 per s, 120 s left",
    ]


def test_nothing_done_in_half_a_minute_is_said_as_well() -> None:
    assert shown(False, [31.0], [(0, 7)]) == "gfn2: 0 of 7, 0 per s, time left unknown\n"


def test_a_terminal_gets_a_bar_alone() -> None:
    text = shown(True, [40.0, 80.0], [(10, 20, 2), (18, 20, 2)])
    assert "20/20" in text
    assert "2 failed" in text
    assert "per s" not in text
