"""What verbs have in common: options, examples at the end of their help, and how they end."""

import functools
import inspect
import json
import math
import shlex
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = "\n\nExamples\n--------\n"
"""What parts the help of a verb from its examples in a docstring."""
EVERY_VERB = "Every verb"
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print nothing but errors, and what --json prints.",
        rich_help_panel=EVERY_VERB,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", help="Show where in the program an error arose.", rich_help_panel=EVERY_VERB
    ),
]
COMMON = {"quiet": Quiet, "debug": Debug}


class ExitCode(IntEnum):
    """What the command ends with."""

    FINE = 0
    BAD_INPUT = 1
    BAD_USAGE = 2
    NOT_ALL_WELL = 3
    """It ran to its end, and what came out is not what was asked for: engines differ, molecules
    were not sampled, no label was got."""
    STOPPED = 130
    """By Ctrl-C."""


def add_verb(
    app: typer.Typer, function: Callable[..., None], name: str | None = None, **settings: Any
) -> None:
    """Make a function a verb of the command.

    The function's docstring is its help; examples in it are lines below the heading ``Examples``.

    Parameters
    ----------
    app
        The command.
    function
        What the verb does.
    name
        Of the verb; by default that of the function.
    settings
        Those of :meth:`typer.Typer.command`.
    """
    text, _, examples = inspect.cleandoc(function.__doc__ or "").partition(EXAMPLES)
    epilog = "\n\n".join(["Examples:", *examples.strip().splitlines()]) if examples else None
    app.command(name, help=text, epilog=epilog, **settings)(with_common_options(function))


def with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function with the options that every verb has."""

    @functools.wraps(function)
    def verb(*, quiet: bool, debug: bool, **given: Any) -> None:
        from idle_md.terminal import quietly

        _check_finite(given)
        try:
            with quietly(quiet), ended_by_ctrl_c():
                function(**given)
        except Exception as error:
            if debug and not isinstance(error, typer.Exit):
                traceback.print_exc()
            raise

    signature = inspect.signature(function)
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
        for name, option in COMMON.items()
    ]
    parameters = [*signature.parameters.values(), *common]
    vars(verb)["__signature__"] = signature.replace(parameters=parameters)
    return verb


def _check_finite(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, float) and not math.isfinite(each):
                hint = f"--{name.replace('_', '-')}"
                raise typer.BadParameter(f"{each} is no number", param_hint=hint)


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Have Ctrl-C end what runs within, whatever a library makes of the KeyboardInterrupt.

    OpenMM takes it for an error of a force, Lightning exits with 1.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # no handler can be set, or somebody else's is
        return
    is_pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal is_pressed
        is_pressed = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, press)
    try:
        yield
    except BaseException:
        if is_pressed:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def next_steps(console: "Console", *commands: Sequence[object]) -> None:
    """Print what one does next: verbs and their arguments, quoted as a shell needs them."""
    for command in commands:
        console.print(f"next: {shlex.join(['idle-md', *map(str, command)])}", soft_wrap=True)


def print_json(value: Any) -> None:
    """Print plain values as JSON, which has no word for a number that is none: it becomes null."""
    typer.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
