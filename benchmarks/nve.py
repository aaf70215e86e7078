"""Energy conservation of a deployed model in OpenMM, with its spread over starts.

    python benchmarks/nve.py model.pt [ethanol.xyz] [--picoseconds 100] [--json nve.json]

The start is relaxed; every run draws other velocities. The drift is the slope of a linear fit of
the total energy; the fluctuation is what is left beside the fit, as a root of the mean square.
"""

import json
from pathlib import Path
from typing import Annotated

import ase.build
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from idle_md.deploy import load
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.results import MDResult
from idle_md.files import replacing
from idle_md.structures import read_structure


def main(
    model: Annotated[Path, typer.Argument(help="Exported model.")],
    start: Annotated[Path | None, typer.Argument(help="Start; ethanol by default.")] = None,
    picoseconds: Annotated[float, typer.Option(help="Length of a run.")] = 100.0,
    timestep: Annotated[float, typer.Option(help="Timestep in fs.")] = 0.5,
    temperature: Annotated[float, typer.Option(help="Of the first velocities, in K.")] = 300.0,
    runs: Annotated[int, typer.Option(min=2, help="Number of starts.")] = 5,
    kernels: Annotated[str, typer.Option(help="native or portable.")] = "native",
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Print and write drift, fluctuation and speed of every run."""
    atoms = ase.build.molecule("CH3CH2OH") if start is None else read_structure(start)
    deployed = load(model, kernels=kernels)  # type: ignore[arg-type]
    table = Table(title=f"{model}, {deployed.dtype}, {kernels}, {len(atoms)} atoms, {timestep} fs")
    for heading in ("drift, meV/atom/ps", "fluctuation, meV/atom", "ns/day"):
        table.add_column(heading, justify="right")
    rows = []
    for seed in range(runs):
        result = run_md(
            deployed,
            atoms,
            MDSettings(
                ensemble="nve",
                temperature_K=temperature,
                timestep_fs=timestep,
                steps=round(1000 * picoseconds / timestep),
                interval=100,
                minimize=True,
                max_stretch=0,
                seed=seed,
            ),
        )
        rows.append((_drift(result), _fluctuation(result), result.ns_per_day))
        table.add_row(*(f"{value:.4f}" for value in rows[-1]))
    drift, fluctuation, speed = np.array(rows).T
    mean, spread = drift.mean(), drift.std(ddof=1)
    table.caption = (
        f"Drift {mean:.4f}, standard deviation {spread:.4f}, largest {np.abs(drift).max():.4f}"
    )
    Console().print(table)
    if output is not None:
        found = {
            "drift_mev_per_atom_per_ps": drift.tolist(),
            "fluctuation_mev_per_atom": fluctuation.tolist(),
            "ns_per_day": speed.tolist(),
            "platform": result.settings.platform,
            "backend": result.settings.backend,
            "dtype": str(deployed.dtype),
        }
        with replacing(output) as file:
            file.write_text(json.dumps(found, indent=2))


def _drift(result: MDResult) -> float:
    assert result.nve_drift_mev_per_atom_per_ps is not None
    return result.nve_drift_mev_per_atom_per_ps


def _fluctuation(result: MDResult) -> float:
    fit = np.polynomial.Polynomial.fit(result.times_ps, result.total_ev, 1)
    beside = result.total_ev - fit(result.times_ps)
    return 1000 * float(np.sqrt(np.mean(beside**2))) / len(result.final)


if __name__ == "__main__":
    typer.run(main)
