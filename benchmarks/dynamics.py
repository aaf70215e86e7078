"""Dynamics of a deployed model in OpenMM: conservation of energy, and whether hot molecules hold.

    python benchmarks/dynamics.py model.pt [ethanol.xyz ...] [--picoseconds 100] [--json FILE]

Every molecule is relaxed, and runs with several draws of velocities: without a thermostat, for the
drift of the total energy (the slope of a linear fit) and its fluctuation (what is left beside the
fit, as a root of the mean square), and hot, with Langevin's, until the end or the step at which a
bond breaks.
"""

import json
import platform
from pathlib import Path
from typing import Annotated, Any

import ase
import ase.build
import numpy as np
import openmm
import torch
import typer
from rich.console import Console
from rich.table import Table

from idle_md.deploy import DeployedModel, load
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.guard import UnstableError
from idle_md.engines.results import MDResult
from idle_md.files import replacing
from idle_md.structures import read_structure

MOLECULES = ("CH3CH2OH", "CH3CONH2", "HCOOCH3", "C4H4NH", "C6H6")  # names that ASE knows
HEADINGS = ("molecule", "drift, meV/atom/ps", "fluctuation, meV/atom", "ns/day", "hot")


def main(
    model: Annotated[Path, typer.Argument(help="Exported model.")],
    starts: Annotated[
        list[Path] | None, typer.Argument(help="Molecules; five small ones by default.")
    ] = None,
    picoseconds: Annotated[float, typer.Option(help="Length of a run.")] = 100.0,
    timestep: Annotated[float, typer.Option(help="Timestep in fs.")] = 0.5,
    temperature: Annotated[float, typer.Option(help="Of the first velocities, in K.")] = 300.0,
    hot: Annotated[float, typer.Option(help="Of the thermostat, in K.")] = 600.0,
    runs: Annotated[int, typer.Option(min=2, help="Number of starts.")] = 2,
    kernels: Annotated[str, typer.Option(help="native or portable.")] = "native",
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Print and write drift, fluctuation, speed and how far the hot runs came."""
    deployed = load(model, kernels=kernels)  # type: ignore[arg-type]
    molecules = {str(path): read_structure(path) for path in starts or []}
    molecules = molecules or {name: ase.build.molecule(name) for name in MOLECULES}
    about = f"{model}, {deployed.dtype}, {kernels}, {picoseconds:g} ps of {timestep:g} fs"
    table = Table(*HEADINGS, title=about)
    rows = []
    for name, atoms in molecules.items():
        for seed in range(runs):
            common: dict[str, Any] = {
                "timestep_fs": timestep,
                "steps": round(1000 * picoseconds / timestep),
                "interval": 100,
                "minimize": True,
                "seed": seed,
            }
            cold = MDSettings(ensemble="nve", temperature_K=temperature, **common)
            result = run_md(deployed, atoms, cold)
            row: dict[str, Any] = {
                "molecule": name,
                "n_atoms": len(atoms),
                "drift_mev_per_atom_per_ps": result.nve_drift_mev_per_atom_per_ps,
                "fluctuation_mev_per_atom": _fluctuation(result),
                "ns_per_day": result.ns_per_day,
                "hot": _hot(deployed, atoms, MDSettings(temperature_K=hot, **common)),
            }
            rows.append(row)
            table.add_row(name, *(f"{v:.4f}" for v in list(row.values())[2:5]), row["hot"])
    largest = max(abs(row["drift_mev_per_atom_per_ps"]) for row in rows)
    table.caption = f"Largest drift {largest:.4f}"
    Console(width=130).print(table)
    if output is not None:
        versions = {"torch": torch.__version__, "openmm": openmm.__version__}
        settings = result.settings.model_dump(mode="json", include={"platform", "backend"})
        found = {"machine": platform.machine(), **versions, **settings, "about": about}
        with replacing(output) as file:
            file.write_text(json.dumps({**found, "rows": rows}, indent=1))


def _fluctuation(result: MDResult) -> float:
    fit = np.polynomial.Polynomial.fit(result.times_ps, result.total_ev, 1)
    beside = result.total_ev - fit(result.times_ps)
    return 1000 * float(np.sqrt(np.mean(beside**2))) / len(result.final)


def _hot(model: DeployedModel, atoms: ase.Atoms, settings: MDSettings) -> str:
    """Return ``"holds"``, or what stopped the run."""
    try:
        run_md(model, atoms, settings)
    except UnstableError as error:
        return str(error)
    return "holds"


if __name__ == "__main__":
    typer.run(main)
