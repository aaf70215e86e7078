"""A committee that stops a run.

Three small networks learn GFN2-xTB of ethanol from 275 geometries, from different random
weights. Dynamics heats the molecule to 2000 K, where the networks have seen little, and stops at
the first structure on which their forces spread by more than 1 eV/Å: the structure that one would
label next. Without the committee the run would go on, and be wrong.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from matplotlib.figure import Figure

import idle_md
from idle_md.data import load, save
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm import SpreadError
from idle_md.train import parse_config, train_ensemble

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
THRESHOLD = 1.0  # eV/angstrom

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    store = load("chno-mini", ["gfn2"])
    chosen = np.flatnonzero((store.group == "ethanol") & (store.role == "train"))
    save(store.select(chosen), folder / "ethanol.h5")
    config = {
        "out": str(folder / "run"),
        "target": "gfn2",
        "labels": {"gfn2": ["energy", "forces"]},
        "data": {"store": str(folder / "ethanol.h5"), "split": {"validation": 0.1}},
        "method": "single",
        "backbone": {"name": "painn", "features": 16, "interactions": 2, "cutoff": 4.0},
        "optimizer": {"learning_rate": 8e-3},
        "budget": {"steps": 300, "validate_every": 100},
        "threads": 1,
    }
    train_ensemble(parse_config(config), members=3)
    idle_md.export(folder / "run", None, folder / "committee.pt")
    settings = MDSettings(
        temperature_K=2000,
        friction_per_ps=20,
        steps=20_000,
        interval=10,
        minimize=True,
        max_stretch=0,
        max_spread=THRESHOLD,
        spread_file=folder / "spread.csv",
    )
    try:
        run_md(folder / "committee.pt", molecule("CH3CH2OH"), settings)
        stopped = False
    except SpreadError:
        stopped = True
    with open(folder / "spread.csv") as file:
        rows = list(csv.DictReader(file))
times = [float(row["time_ps"]) for row in rows]
spread = [float(row["force_std_ev_per_angstrom"]) for row in rows]

figure = Figure(figsize=(5, 3.4), layout="constrained")
axes = figure.subplots()
axes.plot(times, spread, color="#0b6e4f", lw=0.9)
axes.axhline(THRESHOLD, color="#c2571a", ls="--", lw=0.9)
axes.set(xlabel="time, ps", ylabel="largest spread of a force, eV/Å")
figure.savefig(OUT / "committee.svg", metadata={"Date": None})
numbers = {"stopped": float(stopped), "largest spread at the start, eV/Å": spread[0]}
(OUT / "committee.json").write_text(json.dumps(numbers, indent=1) + "\n")
