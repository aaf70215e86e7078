"""`idle-md info`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idle_md.cli.shared.options import Fidelity, Json, shipped_names
from idle_md.cli.shared.verb import next_steps
from idle_md.models import at_fidelity, model_path

if TYPE_CHECKING:
    from rich.table import Table

    from idle_md.deploy import Metadata
    from idle_md.deploy.gate import What

BASELINE = "baseline_"


def info(
    model: Annotated[
        Path,
        typer.Argument(
            help="Exported model, name of a shipped one, checkpoint (.ckpt) or run folder.",
            autocompletion=shipped_names,
        ),
    ],
    fidelity: Fidelity = None,
    path: Annotated[
        bool, typer.Option("--path", help="Print where the file of a shipped model is.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print what a model is, what it was trained on and how good it is.

    Examples
    --------
    idle-md info idle-s
    idle-md info runs/mine
    idle-md info model.pt --json
    """
    from idle_md.terminal import label_table, make_console

    model = at_fidelity(model, fidelity)
    file = model_path(model)
    if path:
        typer.echo(file)
        return
    about = _metadata(file)
    if as_json:
        typer.echo(about.model_dump_json(indent=2))
        return
    console = make_console()
    console.print(str(model), style="bold")
    console.print(_card(about))
    if about.label_counts:
        console.print(label_table("Trained on", about.label_counts))
    if about.test_errors:
        console.print(_errors(about))
    for warning in _warnings(about):
        console.print(f"note: {warning}", style="yellow")
    next_steps(console, ("check", model) if _is_exported(file) else ("export", model))


def _metadata(path: Path) -> "Metadata":
    from idle_md.deploy import describe_checkpoint, read_metadata

    return read_metadata(path) if _is_exported(path) else describe_checkpoint(path)


def _is_exported(path: Path) -> bool:
    return not (path.is_dir() or path.suffix == ".ckpt")


def _card(about: "Metadata") -> "Table":
    from rich.table import Table

    from idle_md.elements import symbols

    sizes = {k: v for k, v in about.backbone.items() if k not in ("name", "elements", "cutoff")}
    references = about.reference_energies_ev
    rows = {
        "fidelity": about.fidelity,
        "level of theory": _level(about),
        "elements": " ".join(symbols(about.elements)),
        "members": f"{about.members}, a committee" if about.members > 1 else "1",
        "backbone": ", ".join(
            [str(about.backbone["name"]), *(f"{key} {_shown(size)}" for key, size in sizes.items())]
        ),
        "head": " to ".join(map(str, about.head_widths)),
        "cutoff": f"{about.cutoff_angstrom:g} Å",
        "receptive field": f"{about.receptive_field_angstrom:g} Å",
        "reference energies": ", ".join(
            f"{symbols([z])[0]} {energy:,.3f} eV" for z, energy in references.items()
        ),
        "charges": _states(about, "charges"),
        "multiplicities": _states(about, "multiplicities"),
        "precision": about.dtype,
        "format version": str(about.format_version),
        "written by": ", ".join(f"{name} {version}" for name, version in about.versions.items()),
    }
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _level(about: "Metadata") -> str:
    level = about.level_of_theory
    if level is None:
        return "not known"
    program = " ".join(filter(None, (level.program, level.version)))
    return f"{level.title}, {program}" if program else level.title


def _states(about: "Metadata", what: "What") -> str:
    from idle_md.deploy.gate import counted

    known = getattr(about, what)
    if known is None:
        return "no input of the model; which ones it was trained on is not known"
    return f"no input of the model; trained on {counted(known, what)}"


def _shown(size: object) -> str:
    return " ".join(map(str, size)) if isinstance(size, list | tuple) else str(size)


def _errors(about: "Metadata") -> "Table":
    from rich.table import Table

    from idle_md.cli.shared.error_columns import add_errors

    table = Table(title="Mean absolute errors on held-out geometries")
    table.add_column("role")
    table.add_column("of")
    rows = []
    for role, errors in about.test_errors.items():
        rows.append(((role, "this model"), errors))
        baseline = {k.removeprefix(BASELINE): errors[k] for k in errors if k.startswith(BASELINE)}
        if baseline:
            rows.append(((role, "trivial baseline"), baseline))
    add_errors(table, rows)
    return table


def _warnings(about: "Metadata") -> list[str]:
    found = []
    if about.delta_on is not None:
        found.append(
            f"this is a difference: energies and forces of {about.delta_on} must be added to it"
        )
    if not about.label_counts:
        found.append("what it was trained on is not known")
    if not about.test_errors:
        found.append("errors on held-out geometries are not known")
    return found
