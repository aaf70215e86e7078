"""Energy conservation.

Ethanol at constant energy for 5 ps in OpenMM, at three timesteps. The total energy fluctuates with
the square of the timestep, as it does for an exact integrator's error, and does not drift: forces
are the derivative of the energy, and both are smooth where a neighbour enters the cutoff.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ase.build import molecule
from matplotlib.figure import Figure

from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
PICOSECONDS = 5

figure = Figure(figsize=(5, 3.4), layout="constrained")
axes = figure.subplots()
numbers = {}
for timestep in (1.0, 0.5, 0.25):
    steps = round(1000 * PICOSECONDS / timestep)
    settings = MDSettings(
        ensemble="nve", timestep_fs=timestep, steps=steps, interval=steps // 500, minimize=True
    )
    run = run_md("idle-s", molecule("CH3CH2OH"), settings)
    total = 1000 * (np.array(run.total_ev) - np.mean(run.total_ev)) / 9  # meV per atom
    axes.plot(run.times_ps, total, lw=0.7, label=f"{timestep} fs")
    numbers[f"fluctuation at {timestep} fs, meV/atom"] = float(total.std())
    if timestep == 0.5:
        numbers["drift at 0.5 fs, meV/atom/ps"] = float(run.nve_drift_mev_per_atom_per_ps)
axes.set(xlabel="time, ps", ylabel="total energy, meV/atom")
axes.legend(frameon=False, ncols=3)
figure.savefig(OUT / "conservation.svg", metadata={"Date": None})
(OUT / "conservation.json").write_text(json.dumps(numbers, indent=1) + "\n")
