"""A torsion profile against its reference level.

The central bond of butane is turned in steps of 15 degrees, nothing else moves. `idle-s-gfn2` is
the shipped model of GFN2-xTB, and GFN2-xTB itself is calculated beside it by tblite; `idle-s` is
the model at ωB97X/6-31G*. Butane is a molecule of the training data.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ase.build import molecule
from matplotlib.figure import Figure
from tblite.ase import TBLite

import idle_md

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
CHAIN = (0, 1, 2, 3)
TURNED = [3, 5, 8, 9, 12, 13]  # what hangs on the third carbon

butane = molecule("trans-butane")
angles = np.arange(0, 181, 15)
levels = {
    "GFN2-xTB": TBLite(method="GFN2-xTB", verbosity=0),
    "idle-s-gfn2": idle_md.Calculator("idle-s-gfn2"),
    "idle-s": idle_md.Calculator("idle-s"),
}
profiles = {name: [] for name in levels}
for angle in angles:
    butane.set_dihedral(*CHAIN, angle, indices=TURNED)
    for name, calculator in levels.items():
        profiles[name].append(calculator.get_potential_energy(butane))
profiles = {name: 1000 * (np.array(energies) - energies[-1]) for name, energies in profiles.items()}

figure = Figure(figsize=(5, 3.4), layout="constrained")
axes = figure.subplots()
for name, style in zip(profiles, ("ko", "-", "--"), strict=True):
    axes.plot(angles, profiles[name], style, label=name)
axes.set(xlabel="torsion, degrees", ylabel="energy above trans, meV")
axes.legend(frameon=False)
figure.savefig(OUT / "torsion.svg", metadata={"Date": None})

difference = profiles["idle-s-gfn2"] - profiles["GFN2-xTB"]
numbers = {
    "barrier of GFN2-xTB, meV": float(profiles["GFN2-xTB"].max()),
    "barrier of idle-s-gfn2, meV": float(profiles["idle-s-gfn2"].max()),
    "barrier of idle-s, meV": float(profiles["idle-s"].max()),
    "mean absolute error of idle-s-gfn2, meV": float(np.abs(difference).mean()),
}
(OUT / "torsion.json").write_text(json.dumps(numbers, indent=1) + "\n")
