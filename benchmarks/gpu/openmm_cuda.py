"""Numbers and speed of a deployed model on a GPU in OpenMM, beside the numbers of the CPU.

    python benchmarks/gpu/openmm_cuda.py model.pt [--molecules 1 --molecules 11] [--json gpu.json]

Every backend and neighbour list of the CUDA platform is compared with the portable graph on the CPU
in float64, as the file's precision allows, and then timed as `idle-md bench openmm` does, with a
single-fidelity model of the same size beside it. Without a GPU it says so and ends.
"""

import json
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import ase
import numpy as np
import openmm
import torch
import typer
from openmm import unit
from rich.console import Console
from rich.table import Table

from idle_md.deploy import load
from idle_md.engines.edges.choice import Neighbors
from idle_md.engines.openmm import create_force
from idle_md.engines.openmm.benchmark import bench_openmm, ethanol
from idle_md.engines.openmm.engine import BACKENDS
from idle_md.files import replacing
from idle_md.tolerances import RELATIVE, SMALLEST_FORCE
from idle_md.units import KJ_PER_MOL, NM

NEIGHBORS: tuple[Neighbors, ...] = ("vesin", "torch", "nnpops")


def main(
    model: Annotated[Path, typer.Argument(help="Exported model.")],
    molecules: Annotated[list[int] | None, typer.Option(help="Sizes in ethanol molecules.")] = None,
    seconds: Annotated[float, typer.Option(help="Of timing, for each size.")] = 20.0,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Compare, time, print and write."""
    if not torch.cuda.is_available():
        print("torch finds no GPU here: nothing was run")
        raise typer.Exit
    sizes = [ethanol(count) for count in molecules or (1, 11, 111, 1111)]
    table = Table(title=f"{model} on {torch.cuda.get_device_name()}, torch {torch.__version__}")
    for heading in ("atoms", "backend", "neighbours", "energy, meV/atom", "forces, meV/Å"):
        table.add_column(heading, justify="right")
    table.add_column("ms/step, IDLe over single")
    rows = []
    for atoms in sizes:
        report = bench_openmm(
            model,
            atoms,
            platforms=["CUDA"],
            kernels=["portable"],
            neighbors=NEIGHBORS,
            device="cuda",
            seconds=seconds,
        )
        steps = {(t.way["backend"], t.way["neighbors"]): t for t in report.timings}
        for backend, search in product(BACKENDS, NEIGHBORS):
            row: dict[str, Any] = {"atoms": len(atoms), "backend": backend, "neighbors": search}
            row |= asdict(steps[backend, search])
            if row["step_ms"] is not None:
                row |= compare(model, atoms, backend, search)
                shown = (f"{row[key]:.5f}" for key in ("energy_mev_per_atom", "forces_mev"))
                ratio = report.single_fidelity and report.single_fidelity["ratio"]["median"]
                table.add_row(
                    str(len(atoms)), backend, search, *shown, f"{row['step_ms']:.3f}, {ratio}"
                )
            else:
                table.add_row(str(len(atoms)), backend, search, "", "", row["why_not"])
            rows.append(row)
    Console(width=140).print(table)
    if output is not None:
        with replacing(output) as file:
            file.write_text(json.dumps(rows, indent=2, default=str))
    if wrong := [row for row in rows if row.get("agrees") is False]:
        raise SystemExit(f"{len(wrong)} of {len(rows)} do not agree with the CPU")


def compare(path: Path, atoms: ase.Atoms, backend: str, neighbors: str) -> dict[str, object]:
    """Return how far energy and forces on the GPU are from the CPU's, and if that is tolerable."""
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=1)  # forces of the size that they have at room temperature
    exact = load(path, dtype=torch.float64, kernels="portable")
    energy, forces = exact.evaluate(atoms.numbers, atoms.positions)
    model = load(path, device="cuda", kernels="portable")
    force = create_force(model, atoms.numbers, backend=backend, neighbors=neighbors)  # type: ignore[arg-type]
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("CUDA")
    properties = {"Precision": "mixed"}
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform, properties)
    context.setPositions(atoms.positions / NM)
    state = context.getState(energy=True, forces=True)
    found = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL
    error = np.abs(state.getForces(asNumpy=True)._value * KJ_PER_MOL / NM - forces).max()
    scale = max(SMALLEST_FORCE, float(np.sqrt(np.mean(forces**2))))
    tolerance = RELATIVE[torch.float32]  # the platform keeps forces in single precision
    off = abs(found - energy) / len(atoms)
    return {
        "energy_mev_per_atom": 1e3 * off,
        "forces_mev": 1e3 * float(error),
        "agrees": bool(off <= tolerance and error <= tolerance * scale),
    }


if __name__ == "__main__":
    typer.run(main)
