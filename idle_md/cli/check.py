"""`idle-md check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idle_md.cli.shared.options import Device, Fidelity, Json, Model
from idle_md.cli.shared.verb import ExitCode, next_steps, print_json
from idle_md.models import at_fidelity

if TYPE_CHECKING:
    from rich.table import Table

    from idle_md.engines.parity.check import Check


def check(
    model: Model,
    structures: Annotated[
        list[Path] | None,
        typer.Argument(help="By default, small ones of every periodicity."),
    ] = None,
    ranks: Annotated[
        list[int] | None, typer.Option(min=1, help="Of LAMMPS; repeatable; default: 1.")
    ] = None,
    as_json: Json = False,
    device: Device = "cpu",
    fidelity: Fidelity = None,
) -> None:
    """Compare a model's numbers in every engine that is installed; exit code 3 if they differ.

    Examples
    --------
    idle-md check model.pt
    idle-md check model.pt mine.xyz --ranks 1 --ranks 4
    idle-md check idle-s --json
    """
    from dataclasses import asdict

    from idle_md.engines.parity.check import check_engines
    from idle_md.structures import read_structure

    model = at_fidelity(model, fidelity)
    systems = {str(path): read_structure(path) for path in structures or ()}
    found = check_engines(model, systems or None, sorted(set(ranks or [1])), device=device)
    if as_json:
        print_json({**asdict(found), "failures": found.failures})
    else:
        _print(found, model)
    if found.failures:
        raise typer.Exit(ExitCode.NOT_ALL_WELL)


def _print(found: "Check", model: Path) -> None:
    from idle_md.engines.parity.check import REFERENCE
    from idle_md.terminal import make_console

    console = make_console()
    title = (
        f"{model} on {len(found.structures)} structures: largest differences from {REFERENCE.name}"
    )
    console.print(_table(found, title))
    for line in [*_reasons(found), *_failures(found)]:
        console.print(line, soft_wrap=True)
    next_steps(console, ("doctor",) if found.failures else ("md", model, "START"))


def _table(found: "Check", title: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    from idle_md.engines.parity.check import QUANTITIES
    from idle_md.tolerances import LOOSER_FOR_ATOMS, ROUNDINGS

    table = Table(title=title)
    table.add_column("engine", no_wrap=True)
    for heading in (
        "structures",
        "E, eV/atom",
        "F, relative",
        "stress, relative",
        "E of atoms, eV",
    ):
        table.add_column(heading, justify="right")
    failed = {(engine, quantity) for engine, _, quantity in found.failures}
    for comparison in found.comparisons:
        largest = comparison.largest
        shown = [
            Text(f"{largest[name]:.1e}", "red" if (comparison.engine, name) in failed else "green")
            if name in largest
            else ""
            for name in QUANTITIES
        ]
        done = "not run" if comparison.why_not else str(len(comparison.differences))
        table.add_row(comparison.engine, done, *shown)
    loose = f"{LOOSER_FOR_ATOMS * found.tolerance:.0e}"
    table.add_section()
    table.add_row("tolerance", "", *[f"{found.tolerance:.0e}"] * 3, loose)
    if found.rounding:
        rows = found.rounding.values()
        own = [max(row.get(name, 0.0) for row in rows) for name in QUANTITIES]
        about = [f"{ROUNDINGS * each:.0e}" for each in own]
        table.add_row(f"or {ROUNDINGS:g} roundings, up to", "", *about)
    return table


def _reasons(found: "Check") -> list[str]:
    """Return what was left out and why, each reason once."""
    missing: dict[str, list[str]] = {}
    for comparison in found.comparisons:
        if comparison.why_not is not None:
            missing.setdefault(comparison.why_not, []).append(comparison.engine)
        for structure, reason in comparison.left_out.items():
            missing.setdefault(reason, []).append(f"{comparison.engine} ({structure})")
    return [f"Without {'; '.join(names)}: {reason}" for reason, names in missing.items()]


def _failures(found: "Check") -> list[str]:
    return [
        f"{engine} differs in {quantity} of {structure}"
        for engine, structure, quantity in found.failures
    ]
