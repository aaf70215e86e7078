"""Milliseconds from positions to forces on a GPU, native operators beside the portable graph.

    python benchmarks/gpu/step.py model.pt [--device cuda] [--atoms 21 ...] [--json FILE]

The step is the module that TorchForce runs, called directly, and replayed as a CUDA graph where
that can be recorded. Atoms move, so that lists are searched anew as in dynamics. All contestants
take turns; medians over the rounds. The last row is 64 copies of 21 atoms in one launch set.
"""

import json
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import ase
import numpy as np
import torch
import typer
from engine_step import EngineStep
from figures import write
from rich.console import Console
from rich.table import Table
from systems import system

from idle_md.deploy import load
from idle_md.units import NM

SIZES = (21, 49, 100, 774, 1_000, 10_000, 100_000)
COPIES, APART = 64, 60.0
PORTABLE_UP_TO = {"cuda": 10_000, "cpu": 500}  # atoms: memory of edges, and patience
FRAMES, AMPLITUDE = 40, 0.3  # angstrom, there and back


def main(
    model: Annotated[Path, typer.Argument(help="Exported PaiNN.")],
    device: str = "cuda",
    atoms: Annotated[list[int] | None, typer.Option()] = None,
    rounds: int = 7,
    output: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Time, print and write after every size."""
    makers = {str(size): partial(system, size) for size in atoms or SIZES}
    rows = []
    for name, make in [*makers.items(), (f"{COPIES} x 21", partial(copies))]:
        made = make()
        row = {"system": name, "atoms": len(made), **timed(model, made, device, rounds)}
        print(json.dumps(row), flush=True)
        rows.append(row)
        write(output, "step", rows)
    ways = list(dict.fromkeys(way for row in rows for way in row["ms"]))
    table = Table(title=f"ms/step on {device}")
    for heading in ("atoms", *ways):
        table.add_column(heading, justify="right")
    for row in rows:
        shown = [row["ms"].get(way) for way in ways]
        table.add_row(row["system"], *("" if ms is None else f"{ms:.3f}" for ms in shown))
    Console(width=120).print(table)


def copies() -> ase.Atoms:
    """Return copies of aspirin that do not see each other."""
    molecule, made = system(21), ase.Atoms()
    for n in range(COPIES):
        one = molecule.copy()
        one.translate([APART * (n % 4), APART * (n // 4 % 4), APART * (n // 16)])
        made += one
    return made


def timed(path: Path, atoms: ase.Atoms, device: str, rounds: int) -> dict[str, Any]:
    """Return medians in milliseconds, by way, and why ways are missing."""
    steps, missing = {}, {}
    for kernels in ("native", "portable"):
        if kernels == "portable" and len(atoms) > PORTABLE_UP_TO[device]:
            continue
        for way in ("", ", graph") if device == "cuda" else ("",):
            try:
                step = EngineStep(load(path, device=device, kernels=kernels), atoms)
                step.run()
                if way:
                    step.capture()
                steps[kernels + way] = step
            except (RuntimeError, ValueError, torch.cuda.OutOfMemoryError) as error:
                missing[kernels + way] = str(error).splitlines()[0]
    moves = trajectory(atoms, device)
    samples: dict[str, list[float]] = {way: [] for way in steps}
    for _ in range(rounds):
        for way, step in steps.items():
            samples[way].append(milliseconds(step, moves, device))
    return {
        "ms": {way: statistics.median(each) for way, each in samples.items()},
        "missing": missing,
    }


def trajectory(atoms: ase.Atoms, device: str) -> Sequence[torch.Tensor]:
    """Return positions in nm of atoms that move to and fro."""
    direction = np.random.default_rng(0).normal(size=(len(atoms), 3))
    direction *= AMPLITUDE / NM / np.linalg.norm(direction, axis=1, keepdims=True)
    phases = np.abs(np.linspace(-1.0, 1.0, FRAMES, endpoint=False))
    frames = (atoms.positions / NM + phase * direction for phase in phases)
    return [torch.as_tensor(frame, device=device) for frame in frames]


def milliseconds(step: EngineStep, moves: Sequence[torch.Tensor], device: str) -> float:
    """Return the time of a step, the mean over a trajectory."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    wait()
    begin = time.perf_counter()
    for frame in moves:
        step.positions.copy_(frame)
        step.run()
    wait()
    return 1e3 * (time.perf_counter() - begin) / len(moves)


if __name__ == "__main__":
    typer.run(main)
