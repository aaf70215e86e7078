"""Energies and forces of PaiNN: eager, portable graph, native operators, and the GEMM floor.

    python benchmarks/speed.py [--atoms 21 --atoms 198 ...] [--threads 1 --threads 2] [--json FILE]

The floor is the time of the matrix products that the algorithm consists of without tables, forward
and reverse, by ``at::mm`` into memory that is there. All contestants take turns in one process for
each number of threads; medians of their times, and of the ratios within a turn. The neighbour
list's time is its mean over steps of 1 fs at 300 K with a skin of 1 angstrom, rebuilding included.
Memory is the peak of a process of its own that runs the native operators. Weights are random.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import ase
import numpy as np
import torch
import typer
from peers.contestants import processor
from rich.console import Console
from rich.table import Table
from structures import structure
from torch import Tensor

from idle_md.deploy import DeployedModel, describe, extract, load, save
from idle_md.files import replacing
from idle_md.memory import keep_freed_memory
from idle_md.native.choice import Kernels
from idle_md.nn import PaiNN, Potential

SIZES = (21, 50, 198, 1_000, 10_000, 50_000)
COLUMNS = ("eager", "portable", "native", "gemm_floor")
LIMIT = 20.0  # GiB that a column may need
# GiB per million edges that a column holds at its peak, measured at 1,000 atoms with 128 features
# and 3 interactions: the growth of a process in which it runs alone.
GIB_PER_MILLION_EDGES = {"eager": 23.8, "portable": 21.6, "native": 0.54, "gemm_floor": 4.1}
SKIN, MD_STEPS = 1.0, 40
PROBE = "--memory-of"


def potential(features: int, interactions: int, n_radial: int, cutoff: float) -> Potential:
    """Return a potential with random weights in float32."""
    torch.manual_seed(0)
    config = PaiNN.Config(
        features=features, interactions=interactions, cutoff=cutoff, n_radial=n_radial
    )
    backbone = PaiNN([1, 6, 7, 8], config)
    return Potential(backbone, ["high"], hidden=features // 2)


def exported(trained: Potential, folder: Path, kernels: Kernels) -> DeployedModel:
    """Return the potential as it is deployed."""
    path = folder / "model.pt"
    save(extract(trained, "high"), path, describe(trained, "high"))
    return load(path, kernels=kernels)


def eager(trained: Potential, inputs: tuple[Tensor, ...]) -> Callable[[], None]:
    """Return the training model's energy and edge gradients by autograd."""
    species, edge_index, vectors = inputs

    def run() -> None:
        leaf = vectors.clone().requires_grad_(True)
        torch.autograd.grad(trained(species, edge_index, leaf).sum(), leaf)

    return run


def core(model: DeployedModel, inputs: tuple[Tensor, ...]) -> Callable[[], None]:
    """Return a deployed model's evaluation."""

    def run() -> None:
        with torch.no_grad():
            model.core(*inputs, len(inputs[0]))

    return run


def gemm_floor(trained: Potential, n_atoms: int, n_edges: int) -> Callable[[], None]:
    """Return the algorithm's matrix products, forward and reverse, into memory that is there."""
    size: Any = trained.backbone.config
    F, R, L = size.features, size.n_radial, size.interactions
    shapes = []
    for k in range(L):
        shapes.append((n_edges, R + 1, (3 if k else 2) * F))
        shapes += [(n_atoms, F, F), (n_atoms, F, 3 * F)] if k else []
        shapes += [(3 * n_atoms, F, 2 * F), (n_atoms, 2 * F, F)]
        shapes.append((n_atoms, F, (3 if k < L - 1 else 2) * F))
    shapes += [(n_atoms, F, trained.hidden), (n_atoms, trained.hidden, 1)]
    memory: dict[tuple[int, int], Tensor] = {}

    def matrix(rows: int, columns: int) -> Tensor:
        return memory.setdefault((rows, columns), torch.rand(rows, columns))

    products = []
    for m, k, n in shapes:
        products.append((matrix(m, k), torch.rand(k, n), matrix(m, n)))
        products.append((matrix(m, n), torch.rand(n, k), matrix(m, k)))

    def run() -> None:
        for a, b, out in products:
            torch.mm(a, b, out=out)

    return run


def neighbor_milliseconds(atoms: ase.Atoms, cutoff: float) -> float:
    """Return the mean time of the native neighbour list over steps of dynamics."""
    neighbors = torch.classes.idle_md.NeighborList(cutoff, SKIN)
    positions = torch.from_numpy(atoms.positions.copy())
    cell = torch.from_numpy(np.ascontiguousarray(atoms.cell.array))
    rng = np.random.default_rng(0)
    speed = np.sqrt(ase.units.kB * 300 / atoms.get_masses())[:, None]
    moves = torch.from_numpy(rng.normal(size=positions.shape) * speed * ase.units.fs)
    seconds = 0.0
    for _ in range(MD_STEPS):
        positions = positions + moves
        began = time.perf_counter()
        neighbors.compute(positions, cell, atoms.pbc.tolist(), torch.float32)
        seconds += time.perf_counter() - began
    return 1e3 * seconds / MD_STEPS


def milliseconds(run: Callable[[], None]) -> float:
    """Return the time of one evaluation."""
    began = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - began)


def take_turns(runs: dict[str, Callable[[], None]], seconds: float) -> dict[str, list[float]]:
    """Time everybody in turn until the time is over, five turns at least, or two of a long one."""
    first = {name: milliseconds(run) for name, run in runs.items()}  # warms up, too
    turn = sum(first.values()) / 1e3
    turns = max(5 if turn < seconds else 2, min(300, int(seconds / turn)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            run()  # brings its own weights and memory back into the caches
            times[name].append(milliseconds(run))
    return times


def row(
    trained: Potential, n_atoms: int, threads: int, seconds: float, columns: Sequence[str]
) -> dict[str, Any]:
    """Measure one structure with one number of threads."""
    torch.set_num_threads(threads)
    atoms = structure(n_atoms)
    with tempfile.TemporaryDirectory() as folder:
        portable, native = (exported(trained, Path(folder), k) for k in ("portable", "native"))
    inputs = native.inputs(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    n_edges = inputs[1].shape[1]
    makers = {
        "eager": lambda: eager(trained, inputs),
        "portable": lambda: core(portable, inputs),
        "native": lambda: core(native, inputs),
        "gemm_floor": lambda: gemm_floor(trained, n_atoms, n_edges),
    }
    found: dict[str, Any] = {"atoms": len(atoms), "threads": threads, "edges": n_edges}
    size = n_edges / 1e6 * trained.backbone.out_features / 128
    needs = {name: size * GIB_PER_MILLION_EDGES[name] for name in COLUMNS}
    times = take_turns({k: makers[k]() for k in columns if needs[k] <= LIMIT}, seconds)
    for name in COLUMNS:
        found[f"{name}_ms"] = statistics.median(times[name]) if name in times else None
        if name not in columns:
            found[f"{name}_why_null"] = "not asked for"
        elif name not in times:
            found[f"{name}_why_null"] = f"would need about {needs[name]:.0f} GiB"
        elif name != "native" and "native" in times:
            ratios = [a / b for a, b in zip(times[name], times["native"], strict=True)]
            found[f"{name}_over_native"] = statistics.median(ratios)
    found["neighbor_ms"] = neighbor_milliseconds(atoms, trained.backbone.cutoff)
    return found


def peak_megabytes(n_atoms: int, settings: list[str]) -> float:
    """Return how much a process of its own grows by evaluating on native operators."""
    command = [sys.executable, __file__, PROBE, str(n_atoms), *settings]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(answer.stdout)


def probe(trained: Potential, n_atoms: int) -> float:
    """Return the growth of this process in MB from before its first evaluation to its peak."""
    torch.set_num_threads(1)
    atoms = structure(n_atoms)
    with tempfile.TemporaryDirectory() as folder:
        model = exported(trained, Path(folder), "native")
    inputs = model.inputs(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    for _ in range(2):
        core(model, inputs)()
    return _status("VmHWM") - before


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """Return the figures as a table."""
    shown = Table(
        title=title, caption="medians; ratios within a turn; the JSON says why a column is empty"
    )
    headings = ("atoms", "threads", "edges", *(f"{name}, ms" for name in COLUMNS))
    ratios = ("eager / native", "portable / native", "native / floor")
    for heading in (*headings, *ratios, "list, ms", "peak, MB"):
        shown.add_column(heading, justify="right")
    for each in rows:
        times = [_shown(each[f"{name}_ms"]) for name in COLUMNS]
        faster = [_shown(each.get(f"{name}_over_native")) for name in ("eager", "portable")]
        floor = each.get("gemm_floor_over_native")
        sizes = [f"{each[key]:,}" for key in ("atoms", "threads", "edges")]
        last = [_shown(floor and 1 / floor), _shown(each["neighbor_ms"]), _shown(each["peak_mb"])]
        shown.add_row(*sizes, *times, *faster, *last)
    return shown


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def main(
    atoms: Annotated[list[int] | None, typer.Option(help="Sizes; repeatable.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Numbers of threads.")] = None,
    features: Annotated[int, typer.Option()] = 128,
    interactions: Annotated[int, typer.Option()] = 3,
    n_radial: Annotated[int, typer.Option()] = 20,
    cutoff: Annotated[float, typer.Option(help="angstrom")] = 5.0,
    seconds: Annotated[float, typer.Option(help="For each size and number of threads.")] = 20.0,
    column: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(COLUMNS)}.")] = None,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    memory_of: Annotated[int | None, typer.Option(PROBE, hidden=True)] = None,
) -> None:
    """Print and write how fast PaiNN is on this machine."""
    keep_freed_memory()
    trained = potential(features, interactions, n_radial, cutoff)
    if memory_of is not None:
        typer.echo(probe(trained, memory_of))
        return
    own = {"features": features, "interactions": interactions, "n-radial": n_radial}
    settings = [word for key, value in own.items() for word in (f"--{key}", str(value))]
    rows = []
    for n_atoms in atoms or SIZES:
        peak = peak_megabytes(n_atoms, [*settings, "--cutoff", str(cutoff)])
        for count in threads or (1, 2):
            found = row(trained, n_atoms, count, seconds, column or COLUMNS)
            rows.append({**found, "peak_mb": peak})
    machine = {"processor": processor(), "cpus": os.cpu_count(), "torch": torch.__version__}
    machine["instruction_set"] = torch.ops.idle_md.instruction_set()
    title = f"PaiNN {features}x{interactions}, {n_radial} radial functions, {cutoff:g} Å, {machine}"
    Console(width=150).print(table(rows, title))
    if output is not None:
        with replacing(output) as file:
            file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2))


if __name__ == "__main__":
    typer.run(main)
