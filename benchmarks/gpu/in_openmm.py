"""A deployed model on a GPU in OpenMM: numbers beside those of the CPU, and ns/day.

    python benchmarks/gpu/in_openmm.py idle-s [--device cuda] [--seconds 10] [--json FILE]

Three systems: alanine dipeptide in the open (22 atoms), a box of water, and the dipeptide by the
model in water by Amber. Every way to run the model is compared with the portable graph on the CPU
in float64, as the file's precision allows, and all take turns in the timing. With --device cpu it
is a rehearsal on OpenMM's platform CPU.
"""

import time
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import ase
import numpy as np
import openmm
import torch
import typer
from figures import write
from openmm import app, unit
from rich.console import Console
from rich.table import Table
from systems import system as water_box

from idle_md.deploy import load
from idle_md.engines.edges.choice import Neighbors
from idle_md.engines.openmm import create_force, create_mixed_system
from idle_md.engines.openmm.benchmark import bench_openmm
from idle_md.engines.openmm.engine import BACKENDS
from idle_md.engines.results import ns_per_day
from idle_md.structures import read_structure
from idle_md.tolerances import RELATIVE, SMALLEST_FORCE
from idle_md.units import KJ_PER_MOL, NM

PEPTIDE = Path(__file__).resolve().parents[2] / "examples" / "openmm" / "alanine_dipeptide.pdb"
NEIGHBORS: tuple[Neighbors, ...] = ("native", "nnpops", "vesin")
TIMESTEP_FS, PADDING = 0.5, 1.0  # nm
PLATFORMS = {"cuda": "CUDA", "cpu": "CPU"}
MIXED = {"CUDA": {"Precision": "mixed"}, "CPU": {"Threads": "1"}}


def main(
    model: Annotated[str, typer.Argument(help="Exported model, or the name of a shipped one.")],
    device: str = "cuda",
    water: Annotated[int, typer.Option(help="Atoms of the box of water.")] = 3000,
    seconds: Annotated[float, typer.Option(help="Of timing, for each system.")] = 10.0,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Compare, time, print and write after every system."""
    systems = {"alanine dipeptide": read_structure(PEPTIDE), "water": water_box(water)}
    rows: list[dict[str, Any]] = []
    for name, atoms in systems.items():
        rows += [{"system": name, **row} for row in pure(model, atoms, device, seconds)]
        write(output, "openmm", rows)
    rows += [{"system": "peptide in water", **row} for row in mixed(model, device, seconds)]
    write(output, "openmm", rows)
    table = Table(title=f"{model} on {device}, torch {torch.__version__}")
    for heading in ("system", "atoms", "way", "meV/atom", "meV/Å", "ms/step", "adds, ms", "ns/day"):
        table.add_column(heading, justify="right")
    figures = ("energy_mev_per_atom", "forces_mev", "step_ms", "overhead_ms", "ns_per_day")
    for row in rows:
        if "step_ms" in row and row["step_ms"] is not None:
            known = [row.get(figure) for figure in figures]
            cells = ["" if figure is None else f"{figure:.4g}" for figure in known]
            table.add_row(row["system"], str(row["atoms"]), row["name"], *cells)
    console = Console(width=130)
    console.print(table)
    for reason in dict.fromkeys(row["why_not"] for row in rows if row.get("why_not")):
        missing = [f"{r['system']}: {r['name']}" for r in rows if r.get("why_not") == reason]
        console.print(f"{len(missing)} ways are not there, such as {missing[0]}: {reason}")
    if wrong := [row for row in rows if row.get("agrees") is False]:
        raise SystemExit(f"{len(wrong)} of {len(rows)} do not agree with the CPU")


def pure(model: str, atoms: ase.Atoms, device: str, seconds: float) -> list[dict[str, Any]]:
    """Return figures of a system that is the model's alone, by the ways to run it."""
    report = bench_openmm(
        model,
        atoms,
        platforms=[PLATFORMS[device]],
        neighbors=NEIGHBORS,
        timestep_fs=TIMESTEP_FS,
        device=device,
        seconds=seconds,
    )
    rows = []
    for timing in report.timings:
        way = {key: str(timing.way[key]) for key in ("kernels", "backend", "neighbors")}
        row = {"atoms": len(atoms), "name": ", ".join(way.values()), **asdict(timing)}
        row["single_fidelity"] = report.single_fidelity
        if timing.step_ms is not None:
            row |= compared(model, atoms, device, **way)
        rows.append(row)
    return rows


def compared(
    path: str, atoms: ase.Atoms, device: str, kernels: str, backend: str, neighbors: str
) -> dict[str, object]:
    """Return how far energy and forces are from the CPU's, and if that is tolerable."""
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=1)  # forces of the size that they have at room temperature
    exact = load(path, dtype=torch.float64, kernels="portable")
    energy, forces = exact.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    force = create_force(
        load(path, device=device, kernels=kernels),  # type: ignore[arg-type]
        atoms.numbers,
        backend=backend,  # type: ignore[arg-type]
        periodic=bool(atoms.pbc.all()),
        neighbors=neighbors,  # type: ignore[arg-type]
    )
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array / NM))
    system.addForce(force)
    context = made_context(system, device)
    context.setPositions(atoms.positions / NM)
    state = context.getState(energy=True, forces=True)
    found = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL
    error = np.abs(state.getForces(asNumpy=True)._value * KJ_PER_MOL / NM - forces).max()
    scale = max(SMALLEST_FORCE, float(np.sqrt(np.mean(forces**2))))
    tolerance = RELATIVE[torch.float32]  # the platform keeps forces in single precision
    off = abs(found - energy) / len(atoms)
    return {
        "energy_mev_per_atom": 1e3 * float(off),
        "forces_mev": 1e3 * float(error),
        "agrees": bool(off <= tolerance and error <= tolerance * scale),
    }


def mixed(model: str, device: str, seconds: float) -> list[dict[str, Any]]:
    """Return figures of a peptide by the model in water by Amber, and of Amber alone."""
    pdb = app.PDBFile(str(PEPTIDE))
    force_field = app.ForceField("amber14-all.xml", "amber14/tip3pfb.xml")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(force_field, model="tip3p", padding=PADDING * unit.nanometer)
    classical = force_field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.8 * PADDING * unit.nanometer,
        constraints=None,
    )
    relaxed = context_of(classical, device, modeller.positions)
    openmm.LocalEnergyMinimizer.minimize(relaxed, maxIterations=300)
    start = relaxed.getState(positions=True).getPositions()
    chosen: dict[str, dict[str, Any]] = {}
    for kernels, backend in product(("native", "portable"), BACKENDS):
        chosen[f"{kernels}, {backend}"] = {"kernels": kernels, "backend": backend}
    contexts, rows = {"Amber alone": context_of(classical, device, start)}, []
    peptide = range(pdb.topology.getNumAtoms())
    atoms = modeller.topology.getNumAtoms()
    for name, options in chosen.items():
        try:
            system = create_mixed_system(
                model, modeller.topology, classical, peptide, device=device, **options
            )
            contexts[name] = context_of(system, device, start)
        except (ImportError, ValueError, openmm.OpenMMException) as error:
            rows.append({"atoms": atoms, "name": name, "why_not": str(error).splitlines()[-1]})
    for name, step_ms in taking_turns(contexts, seconds).items():
        figures = {"step_ms": step_ms, "ns_per_day": ns_per_day(1, TIMESTEP_FS, 1e-3 * step_ms)}
        rows.append({"atoms": atoms, "name": name, **figures})
    return rows


def made_context(system: openmm.System, device: str) -> openmm.Context:
    """Return a context on the platform of a device."""
    platform = openmm.Platform.getPlatformByName(PLATFORMS[device])
    integrator = openmm.LangevinMiddleIntegrator(300, 1, TIMESTEP_FS * 1e-3)
    return openmm.Context(system, integrator, platform, MIXED[PLATFORMS[device]])


def context_of(system: openmm.System, device: str, positions: Any) -> openmm.Context:
    """Return a context at a start, with velocities."""
    context = made_context(system, device)
    context.setPositions(positions)
    context.setVelocitiesToTemperature(300, 1)
    return context


def taking_turns(contexts: dict[str, openmm.Context], seconds: float) -> dict[str, float]:
    """Return milliseconds per step, medians over turns."""
    times: dict[str, list[float]] = {name: [] for name in contexts}
    counts = {name: max(1, round(0.1 / timed(each, 5))) for name, each in contexts.items()}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not all(times.values()):
        for name, context in contexts.items():
            times[name].append(1e3 * timed(context, counts[name]))
    return {name: float(np.median(each)) for name, each in times.items()}


def timed(context: openmm.Context, steps: int) -> float:
    """Return seconds per step."""
    context.getState(positions=True)  # waits for a GPU
    begun = time.perf_counter()
    context.getIntegrator().step(steps)
    context.getState(positions=True)
    return (time.perf_counter() - begun) / steps


if __name__ == "__main__":
    typer.run(main)
