"""`idle-md label`."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from idle_md.cli.shared.options import Jobs, Scheduler
from idle_md.cli.shared.verb import ExitCode, next_steps

if TYPE_CHECKING:
    from rich.console import Console

    from idle_md.label.merging import Report
    from idle_md.label.selection import Chooser, Score

WHICH = "Which geometries"
LABELS = "Labels"


class Selection(str, Enum):
    """How the geometries of a subset are chosen."""

    random = "random"
    diverse = "diverse"
    disagreement = "disagreement"
    variance = "variance"


def label(
    store: Annotated[Path, typer.Argument(help="Store (.h5), or XYZ: then the .h5 beside it.")],
    level: Annotated[
        str, typer.Option(help="gfn1, gfn2, gfnff, pm6, pm7, or METHOD/BASIS such as wb97x/6-31g*.")
    ],
    fidelity: Annotated[
        str | None,
        typer.Option(
            help="Name of the labels; default: the level's, simplified.", rich_help_panel=LABELS
        ),
    ] = None,
    subset: Annotated[
        int | None, typer.Option(min=1, help="Geometries that shall have this label; default: all.")
    ] = None,
    select: Annotated[
        Selection,
        typer.Option(
            help="Which: by chance, far from each other, where models disagree, or those that "
            "leave a model's closed form the least variance of forces.",
            rich_help_panel=WHICH,
        ),
    ] = Selection.random,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="For disagreement: a committee's run folder or checkpoints, or one checkpoint "
            "with two fidelities; repeatable. For variance: one checkpoint or run folder, that of "
            "a low level or one made by adapt.",
            rich_help_panel=WHICH,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.", rich_help_panel=WHICH)] = 0,
    role: Annotated[
        str | None, typer.Option(help="Only geometries of this role.", rich_help_panel=WHICH)
    ] = None,
    having: Annotated[
        str | None,
        typer.Option(help="Only geometries with a label of this fidelity.", rich_help_panel=WHICH),
    ] = None,
    max_atoms: Annotated[
        int | None,
        typer.Option(
            min=1, help="Only geometries of up to this many atoms.", rich_help_panel=WHICH
        ),
    ] = None,
    spin: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Unpaired electrons of the geometries; default: what each declares "
            "(multiplicity, unpaired), or none.",
        ),
    ] = None,
    jobs: Jobs = None,
    scheduler: Scheduler = None,
    retry_failed: Annotated[
        bool, typer.Option(help="Calculate again what failed.", rich_help_panel=LABELS)
    ] = False,
    isolated_atoms: Annotated[
        bool,
        typer.Option(
            help="Also calculate the store's elements as isolated atoms.", rich_help_panel=LABELS
        ),
    ] = False,
) -> None:
    """Label geometries at a level of theory; go on where an interrupted run stopped.

    Exit code 3 if there was something to label and no label was got.

    Examples
    --------
    idle-md label set.h5 --level gfn2
    idle-md label set.h5 --level 'wb97x/6-31g*' --subset 40 --select diverse
    idle-md label set.h5 --level gfn2 --scheduler tcp://head:8786
    """
    from idle_md.label.isolated import label_isolated_atoms
    from idle_md.label.labelling import label as run
    from idle_md.label.levels import find_level
    from idle_md.label.merging import store_of
    from idle_md.progress import LongTask
    from idle_md.terminal import make_console

    console = make_console()
    find_level(level)  # before a store is made of an XYZ file
    store = store_of(store)
    with LongTask(level, console) as shown:
        report = run(
            store,
            level,
            fidelity=fidelity,
            subset=subset,
            select=_selection(select, model or [], seed),
            seed=seed,
            role=role,
            having=having,
            max_atoms=max_atoms,
            spin=spin,
            jobs=jobs,
            scheduler=scheduler,
            retry_failed=retry_failed,
            progress=lambda done, failed, total: shown.update(done, total, failed),
        )
    _print(report, store, console)
    if isolated_atoms:
        energies = label_isolated_atoms(store, level, report.fidelity)
        told = ", ".join(f"{symbol} {energy:.6f}" for symbol, energy in energies.items())
        console.print(f"isolated atoms, eV: {told}")
    next_steps(console, ("data", "info", store))
    if report.failed and not report.labelled:
        raise typer.Exit(ExitCode.NOT_ALL_WELL)


def _selection(
    select: Selection, models: list[Path], seed: int
) -> "Literal['random', 'diverse'] | Score | Chooser":
    if select is Selection.disagreement:
        from idle_md.train import disagreement

        return disagreement(models)
    if select is Selection.variance:
        from idle_md.train import LeastVariance

        return LeastVariance(models, seed)
    return "diverse" if select is Selection.diverse else "random"


def _print(report: "Report", store: Path, console: "Console") -> None:
    rate = report.cpu_seconds / max(1, report.labelled + report.failed)
    console.print(
        f"{store}: {report.labelled} labels {report.fidelity!r} added, {report.failed} failed; "
        f"{report.cpu_seconds:.1f} CPU s, {rate:.3g} each",
    )
    for reason, count in report.reasons.most_common():
        example = report.examples[reason]
        console.print(f"  {count} failed: {reason} (geometry {example})")
