"""What OpenMM adds to a model's evaluation: step with the force, less the bare core.

    python benchmarks/openmm_overhead.py [--molecules 11] [--json FILE]

A step of Verlet dynamics is timed without a force, with the force, and beside it the deployed core
alone on the same structure, on OpenMM's Reference platform (which ``idle-md md`` takes for models
on the CPU) and its CPU platform; all take turns. The overhead is the step with the force minus the
core; it holds the neighbour list, the conversion of units and TorchForce itself, and OpenMM's own
step.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import openmm
import torch
import typer
from inference_parity import ethanol
from openmm import unit
from rich.console import Console
from rich.table import Table
from speed import exported, potential

from idle_md.engines.openmm import Backend, backend_of, create_force
from idle_md.files import replacing
from idle_md.memory import keep_freed_memory

STEP_PS = 1e-6  # nothing moves: random weights are no potential
STEPS = 20  # in a sample
KERNELS = ("native", "portable")
PLATFORMS: dict[str, dict[str, str]] = {"Reference": {}, "CPU": {"Threads": "1"}}


def stepper(atoms: Any, force: openmm.Force | None, platform: str) -> Callable[[], None]:
    """Return a function that runs steps of dynamics."""
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if force is not None:
        system.addForce(force)
    integrator = openmm.VerletIntegrator(STEP_PS)
    runs_on = openmm.Platform.getPlatformByName(platform)
    context = openmm.Context(system, integrator, runs_on, PLATFORMS[platform])
    context.setPositions(atoms.positions * unit.angstrom)

    def run() -> None:
        integrator.step(STEPS)
        context.getState(positions=True)

    # The integrator must live as long as its context.
    run.context = context  # type: ignore[attr-defined]
    return run


def evaluator(model: Any, atoms: Any) -> Callable[[], None]:
    """Return a function that evaluates the bare core as often."""
    inputs = model.inputs(atoms.numbers, atoms.positions)

    def run() -> None:
        with torch.no_grad():
            for _ in range(STEPS):
                model.core(*inputs, len(atoms))

    return run


def measure(runs: dict[str, Callable[[], None]], seconds: float) -> dict[str, list[float]]:
    """Return milliseconds per step or evaluation; everybody in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - began) / STEPS)
    return times


def main(
    molecules: Annotated[int, typer.Option(help="Of ethanol, 9 atoms each.")] = 11,
    features: Annotated[int, typer.Option()] = 64,
    interactions: Annotated[int, typer.Option()] = 2,
    seconds: Annotated[float, typer.Option()] = 30.0,
    backend: Annotated[str, typer.Option()] = "torchforce",
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Print and write the overhead of each kind of kernels."""
    torch.set_num_threads(1)
    keep_freed_memory()
    atoms = ethanol(molecules)
    runs = {f"{platform}, empty step": stepper(atoms, None, platform) for platform in PLATFORMS}
    how: Backend = backend  # type: ignore[assignment]
    for kernels in KERNELS:
        with tempfile.TemporaryDirectory() as folder:
            trained = potential(features, interactions, 16, 5.0)
            model = exported(trained, Path(folder), kernels)
        runs[f"{kernels} core"] = evaluator(model, atoms)
        for platform in PLATFORMS:
            force = create_force(model, atoms.numbers.tolist(), backend=how)
            runs[f"{platform}, {kernels} step"] = stepper(atoms, force, platform)
    times = measure(runs, seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for platform, kernels in product(PLATFORMS, KERNELS):
        pairs = zip(times[f"{platform}, {kernels} step"], times[f"{kernels} core"], strict=True)
        medians[f"{platform}, {kernels} overhead"] = statistics.median(a - b for a, b in pairs)
    title = f"{len(atoms)} atoms, PaiNN {features}x{interactions}, {backend_of(force)}, 1 thread"
    rows = Table(title=title)
    rows.add_column("")
    rows.add_column("ms", justify="right")
    for name, value in medians.items():
        rows.add_row(name, f"{value:.3f}")
    Console().print(rows)
    if output is not None:
        with replacing(output) as file:
            file.write_text(json.dumps({"atoms": len(atoms), "milliseconds": medians}, indent=2))


if __name__ == "__main__":
    typer.run(main)
