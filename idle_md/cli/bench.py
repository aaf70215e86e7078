"""`idle-md bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from idle_md.engines.bench import Report

app = typer.Typer(help="Measure how fast a model runs.", no_args_is_help=True)


@app.callback()
def _options() -> None:
    pass


@app.command()
def openmm(
    model: Annotated[Path, typer.Argument(help="Exported model.")],
    structures: Annotated[
        list[Path] | None,
        typer.Argument(help="Starts; by default 1 and 11 molecules of ethanol."),
    ] = None,
    platform: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all.")] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="torchforce, pythontorchforce or pythonforce; repeatable."),
    ] = None,
    kernels: Annotated[
        list[str] | None, typer.Option(help="native or portable; repeatable.")
    ] = None,
    neighbors: Annotated[
        list[str] | None, typer.Option(help="native, vesin, torch or nnpops; repeatable.")
    ] = None,
    timestep: Annotated[float, typer.Option(help="Timestep in fs.")] = 0.5,
    seconds: Annotated[float, typer.Option(help="For each structure.")] = 60.0,
    threads: Annotated[int, typer.Option(min=1, help="Of torch and OpenMM.")] = 1,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu or cuda.")] = "cpu",
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Time dynamics in OpenMM by platform, backend, kernels and neighbour list."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from idle_md.engines.bench import bench_openmm, ethanol
    from idle_md.engines.trajectory import read_structure
    from idle_md.files import replacing

    lists = {"platforms": platform, "backends": backend, "kernels": kernels, "neighbors": neighbors}
    chosen = {key: value for key, value in lists.items() if value}
    starts = [read_structure(path) for path in structures or ()] or [ethanol(1), ethanol(11)]
    reports = []
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
        Console().print(
            _table(report, f"{model} on {device}, {threads} thread(s), {timestep:g} fs")
        )
        reports.append(asdict(report))
    if output is not None:
        with replacing(output) as file:
            file.write_text(json.dumps(reports, indent=2))


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
            table.add_row(*vars(timing.way).values(), *cells)
    return table


def _caption(report: "Report") -> str:
    empty = ", ".join(f"{name} {ms:.3f} ms" for name, ms in report.empty_ms.items())
    lines = [f"A step without a force: {empty}."]
    if report.single_fidelity is not None:
        ratio = report.single_fidelity["ratio"]
        lines.append(
            f"Evaluation over that of a single-fidelity model: {ratio['median']:.3f} "
            f"({ratio['low']:.2f} to {ratio['high']:.2f})."
        )
    for reason in dict.fromkeys(t.why_not for t in report.timings if t.why_not is not None):
        ways = [vars(t.way).values() for t in report.timings if t.why_not == reason]
        shared = [values[0] for values in zip(*ways, strict=True) if len(set(values)) == 1]
        lines.append(f"Without {', '.join(shared)}: {reason}")
    return "\n".join(lines)
