"""Native operators on a GPU against the portable graph in float64 on the CPU.

    python benchmarks/gpu/correct.py model.pt [--device cuda] [--smallest] [--json FILE]

Energies and forces in both precisions for open and periodic systems, from edges and from positions;
two runs, and the replay of a graph, must be equal bit by bit; a problem must not become a number.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

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
from idle_md.tolerances import ENERGY, RELATIVE, SMALLEST_FORCE
from idle_md.units import KJ_PER_MOL, NM

SIZES = (21, 50, 198, 1_000)


class Precision(NamedTuple):
    """What kernels run in, and what is tolerated: energies in eV per atom, forces relative."""

    dtype: torch.dtype
    energy: float
    relative: float


PRECISIONS = {
    "float32": Precision(torch.float32, ENERGY[torch.float32], RELATIVE[torch.float32]),
    "TF32": Precision(torch.float32, 1e-3, 1e-3),
    "float64": Precision(torch.float64, ENERGY[torch.float64], RELATIVE[torch.float64]),
}
COLUMNS = ("atoms", "precision", "energy, eV/atom", "forces, relative", "same bits", "graph", "NaN")


def main(
    model: Annotated[Path, typer.Argument(help="Exported PaiNN.")],
    device: str = "cuda",
    smallest: Annotated[bool, typer.Option(help="21 atoms alone, for a sanitizer.")] = False,
    output: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Compare, print and write; not to agree is an error."""
    rows: list[dict[str, Any]] = []
    for size in SIZES[:1] if smallest else SIZES:
        atoms = system(size)
        atoms.rattle(0.05, seed=1)
        exact = load(model, dtype=torch.float64, kernels="portable")
        pbc = bool(atoms.pbc.all())
        expected = exact.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, pbc)
        for name, precision in PRECISIONS.items():
            torch.set_float32_matmul_precision("high" if name == "TF32" else "highest")
            found = compare(model, atoms, device, precision, expected)
            rows.append({"atoms": len(atoms), "precision": name, **found})
            write(output, "correct", rows)
    table = Table(title=f"native operators on {device}")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(str(row[column]) for column in COLUMNS))
    Console(width=120).print(table)
    if wrong := [row for row in rows if not row["agrees"]]:
        raise SystemExit(f"{len(wrong)} of {len(rows)} do not agree")


def compare(
    path: Path, atoms: ase.Atoms, device: str, precision: Precision, expected: tuple[float, Any]
) -> dict[str, Any]:
    """Return how far a model on the device is from what is expected."""
    model = load(path, device=device, dtype=precision.dtype, kernels="native")
    step = EngineStep(model, atoms)
    energy, forces = (each.clone() for each in step.run())
    again = step.run()
    same = all(torch.equal(a, b) for a, b in zip((energy, forces), again, strict=True))
    graph = replayed(step, energy, forces) if device == "cuda" else "none"
    step.positions[0, 0] = torch.nan
    is_nan = bool(step.run()[0].isnan()) if device == "cuda" else "none"
    off = abs(float(energy) * KJ_PER_MOL - expected[0]) / len(atoms)
    difference = np.abs(forces.cpu().numpy() * KJ_PER_MOL / NM - expected[1]).max()
    scale = max(SMALLEST_FORCE, float(np.sqrt(np.mean(expected[1] ** 2))))
    agrees = off <= precision.energy and difference <= precision.relative * scale and same
    return {
        "energy, eV/atom": f"{off:.1e}",
        "forces, relative": f"{difference / scale:.1e}",
        "same bits": same,
        "graph": graph,
        "NaN": is_nan,
        "agrees": bool(agrees and graph in ("same", "none") and is_nan in (True, "none")),
    }


def replayed(step: EngineStep, energy: torch.Tensor, forces: torch.Tensor) -> str:
    """Return whether the replay of a graph gives the same bits, or why there is no graph."""
    try:
        step.capture()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    found = step.run()
    torch.cuda.synchronize()
    is_same = all(torch.equal(a, b) for a, b in zip(found, (energy, forces), strict=True))
    return "same" if is_same else "other"


if __name__ == "__main__":
    typer.run(main)
