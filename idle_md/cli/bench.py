"""`idle-md bench`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idle_md.cli.shared.options import MODEL_PANEL, Device, Fidelity, Json, Model
from idle_md.cli.shared.verb import add_verb, next_steps, print_json
from idle_md.models import at_fidelity

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from idle_md.engines.benchmark import Report

WAYS = "Ways to run a model: all that there are unless named"
SAMPLES = "Samples"
app = typer.Typer(help="Measure how fast a model runs.", no_args_is_help=True)


@app.callback()
def _options() -> None:
    pass


def openmm(
    model: Model,
    structures: Annotated[
        list[Path] | None,
        typer.Argument(help="Starts; by default 1 and 11 molecules of ethanol."),
    ] = None,
    platform: Annotated[
        list[str] | None, typer.Option(help="Repeatable; default: all.", rich_help_panel=WAYS)
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            help="torchforce, pythontorchforce or pythonforce; repeatable.", rich_help_panel=WAYS
        ),
    ] = None,
    kernels: Annotated[
        list[str] | None, typer.Option(help="native or portable; repeatable.", rich_help_panel=WAYS)
    ] = None,
    neighbors: Annotated[
        list[str] | None,
        typer.Option(help="native, vesin, torch or nnpops; repeatable.", rich_help_panel=WAYS),
    ] = None,
    timestep: Annotated[float, typer.Option(help="Timestep in fs.")] = 0.5,
    seconds: Annotated[float, typer.Option(help="For each structure.")] = 60.0,
    threads: Annotated[
        int, typer.Option(min=1, help="Of torch and OpenMM.", rich_help_panel=MODEL_PANEL)
    ] = 1,
    as_json: Json = False,
    device: Device = "cpu",
    fidelity: Fidelity = None,
) -> None:
    """Time dynamics in OpenMM by platform, backend, kernels and neighbour list.

    Examples
    --------
    idle-md bench openmm model.pt
    idle-md bench openmm model.pt box.pdb --platform Reference --seconds 20
    idle-md bench openmm idle-s --json
    """
    from idle_md.engines.openmm.benchmark import bench_openmm, ethanol
    from idle_md.structures import read_structure
    from idle_md.terminal import make_console

    lists = {"platforms": platform, "backends": backend, "kernels": kernels, "neighbors": neighbors}
    chosen = {key: value for key, value in lists.items() if value}
    model = at_fidelity(model, fidelity)
    starts = [read_structure(path) for path in structures or ()] or [ethanol(1), ethanol(11)]
    console, reports = make_console(), []
    for start in starts:
        report = bench_openmm(
            model,
            start,
            timestep_fs=timestep,
            seconds=seconds,
            threads=threads,
            device=device,
            **chosen,  # type: ignore[arg-type]
        )
        title = f"{model} on {device}, {threads} thread(s), {timestep:g} fs"
        if not as_json:
            console.print(_table(report, title))
        reports.append(report)
    _end(reports, as_json, console, ("md", model, "START"))


def lammps(
    model: Model,
    structures: Annotated[
        list[Path] | None,
        typer.Argument(help="Starts; by default boxes of about 1,000 and 8,000 atoms of water."),
    ] = None,
    atoms: Annotated[
        list[int] | None, typer.Option(min=1, help="Of a box of water; repeatable.")
    ] = None,
    ranks: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="MPI; repeatable; default: 1 and all cores.", rich_help_panel=WAYS
        ),
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="fold, ghost or local; repeatable; default: the plugin's choice.",
            rich_help_panel=WAYS,
        ),
    ] = None,
    kernels: Annotated[
        list[str] | None, typer.Option(help="native or portable; repeatable.", rich_help_panel=WAYS)
    ] = None,
    timestep: Annotated[float, typer.Option(help="Timestep in fs.")] = 0.5,
    steps: Annotated[int, typer.Option(min=1, help="Of a sample; best a multiple of 20.")] = 40,
    rounds: Annotated[
        int,
        typer.Option(min=1, help="Samples, of which the median counts.", rich_help_panel=SAMPLES),
    ] = 3,
    as_json: Json = False,
    device: Device = "cpu",
    fidelity: Fidelity = None,
) -> None:
    """Time dynamics in LAMMPS by atoms, ranks and mode.

    Examples
    --------
    idle-md bench lammps model.pt
    idle-md bench lammps model.pt --atoms 3000 --ranks 1 --ranks 4
    """
    import os

    from idle_md.engines.lammps.benchmark import bench_lammps, water_boxes
    from idle_md.structures import read_structure
    from idle_md.terminal import make_console

    chosen: dict[str, Any] = {"modes": mode, "kernels": kernels}
    model = at_fidelity(model, fidelity)
    chosen = {key: value for key, value in chosen.items() if value}
    starts = [read_structure(path) for path in structures or ()]
    if atoms or not starts:
        starts += water_boxes(model, atoms or (1000, 8000))
    console, reports = make_console(), []
    for start in starts:
        report = bench_lammps(
            model,
            start,
            ranks=ranks or sorted({1, os.cpu_count() or 1}),
            timestep_fs=timestep,
            steps=steps,
            rounds=rounds,
            device=device,
            **chosen,
        )
        if not as_json:
            console.print(_lammps_table(report, f"{model} on {device}, {timestep:g} fs"))
        reports.append(report)
    _end(reports, as_json, console, ("md", model, "START", "--engine", "lammps"))


add_verb(app, openmm)
add_verb(app, lammps)


def _end(
    reports: "Sequence[Report]", as_json: bool, console: "Console", after: Sequence[object]
) -> None:
    from dataclasses import asdict

    if as_json:
        print_json([asdict(report) for report in reports])
    else:
        next_steps(console, after)


def _lammps_table(report: "Report", title: str) -> "Table":
    from rich.table import Table

    table = Table(title=f"{report.atoms:,} atoms, {title}")
    for heading in ("mode", "ranks", "kernels"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ms/step", "outside, ms", "katom-step/s", "ns/day"):
        table.add_column(heading, justify="right", no_wrap=True)
    for timing in report.timings:
        if timing.step_ms is not None and timing.overhead_ms is not None:
            outside = f"{timing.overhead_ms:.3f} ({timing.overhead_ms / timing.step_ms:.1%})"
            speeds = (f"{timing.katom_steps_per_s:.2f}", f"{timing.ns_per_day:.2f}")
            table.add_row(*map(str, timing.way.values()), f"{timing.step_ms:.3f}", outside, *speeds)
    outside = "Outside: what of a step is not the model, the mean of all ranks."
    table.caption = "\n".join([outside, *_reasons(report)])
    return table


def _table(report: "Report", title: str) -> "Table":
    from rich.table import Table

    table = Table(title=f"{report.atoms} atoms, {title}", caption=_caption(report))
    for heading in ("platform", "backend", "kernels", "neighbours"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ms/step", "model, ms", "overhead, ms", "ns/day"):
        table.add_column(heading, justify="right", no_wrap=True)
    for timing in sorted(report.timings, key=lambda one: one.step_ms or 0.0):
        if timing.step_ms is not None:
            values = (timing.step_ms, timing.core_ms, timing.overhead_ms)
            cells = (*(f"{value:.3f}" for value in values), f"{timing.ns_per_day:.2f}")
            table.add_row(*map(str, timing.way.values()), *cells)
    return table


def _caption(report: "Report") -> str:
    empty = ", ".join(f"{name} {ms:.3f} ms" for name, ms in (report.empty_ms or {}).items())
    lines = [f"A step without a force: {empty}."]
    if report.single_fidelity is not None:
        ratio = report.single_fidelity["ratio"]
        lines.append(
            f"Evaluation over that of a single-fidelity model: {ratio['median']:.3f} "
            f"({ratio['low']:.2f} to {ratio['high']:.2f})."
        )
    return "\n".join([*lines, *_reasons(report)])


def _reasons(report: "Report") -> list[str]:
    """Return why some ways could not be run, each reason once with what those ways share."""
    lines = []
    for reason in dict.fromkeys(t.why_not for t in report.timings if t.why_not is not None):
        ways = [t.way.items() for t in report.timings if t.why_not == reason]
        shared = [pairs[0] for pairs in zip(*ways, strict=True) if len(set(pairs)) == 1]
        named = [f"{name} {value}" for name, value in shared if value is not None]
        lines.append(f"Without {', '.join(named)}: {reason}")
    return lines
