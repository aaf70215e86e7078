"""`idle-md check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idle_md.cli.options import Fidelity, Model
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
    device: Annotated[
        str, typer.Option(help="Where engines run the model: cpu, cuda, or cuda:1 of several GPUs.")
    ] = "cpu",
    fidelity: Fidelity = None,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Compare a model's numbers in every engine that is installed; exit code 1 if they differ."""
    from rich.markup import escape

    from idle_md.engines.parity.check import REFERENCE, check_engines
    from idle_md.structures import read_structure
    from idle_md.terminal import make_console

    model = at_fidelity(model, fidelity)
    systems = {str(path): read_structure(path) for path in structures or ()}
    found = check_engines(model, systems or None, sorted(set(ranks or [1])), device=device)
    console = make_console()
    title = (
        f"{model} on {len(found.structures)} structures: largest differences from {REFERENCE.name}"
    )
    console.print(_table(found, escape(title)))
    for line in [*_reasons(found), *_failures(found)]:
        console.print(escape(line), soft_wrap=True)
    if output is not None:
        _write(found, output)
    if found.failures:
        raise typer.Exit(1)


def _table(found: "Check", title: str) -> "Table":
    from rich.table import Table

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
            f"[{'red' if (comparison.engine, name) in failed else 'green'}]{largest[name]:.1e}[/]"
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


def _write(found: "Check", output: Path) -> None:
    import json
    from dataclasses import asdict

    from idle_md.files import replacing

    content = {**asdict(found), "failures": found.failures}
    with replacing(output) as file:
        file.write_text(json.dumps(content, indent=2))
