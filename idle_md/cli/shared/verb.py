"""What verbs have in common: options, examples at the end of their help, and how they end."""

import functools
import inspect
import json
import math
import shlex
import traceback
from collections.abc import Callable, Sequence
from enum import IntEnum
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
    """What the command ends with; Ctrl-C ends it with 130."""

    FINE = 0
    BAD_INPUT = 1
    BAD_USAGE = 2
    NOT_ALL_WELL = 3
    """It ran to its end, and what came out is not what was asked for: engines differ, molecules
    were not sampled, no label was got."""


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

        try:
            with quietly(quiet):
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
