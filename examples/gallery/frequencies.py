"""Harmonic frequencies and thermochemistry.

Methanol is relaxed with the shipped model of GFN2-xTB and with GFN2-xTB itself, and both Hessians
come from finite differences of the forces by ASE. Free energies are those of the ideal gas in the
approximation of harmonic oscillators and a rigid rotor, at 298.15 K and 1 bar.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.optimize import BFGS
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import Vibrations
from matplotlib.figure import Figure
from tblite.ase import TBLite

import idle_md

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")


def analyse(calculator):
    """Return the frequencies in 1/cm and the thermal correction to the free energy in eV."""
    atoms = molecule("CH3OH")
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
    with tempfile.TemporaryDirectory() as folder:
        vibrations = Vibrations(atoms, name=f"{folder}/vibrations", delta=0.005)
        vibrations.run()
        modes = vibrations.get_energies()[6:].real
        frequencies = vibrations.get_frequencies()[6:].real
    gas = IdealGasThermo(modes, "nonlinear", atoms=atoms, symmetrynumber=1, spin=0)
    return frequencies, gas.get_gibbs_energy(298.15, 1e5, verbose=False)


reference, reference_gibbs = analyse(TBLite(method="GFN2-xTB", verbosity=0, accuracy=0.01))
model, gibbs = analyse(idle_md.Calculator("idle-s-gfn2"))

figure = Figure(figsize=(5, 3.4), layout="constrained")
axes = figure.subplots()
axes.vlines(reference, 0, 1, color="#9ca3af", lw=3, label="GFN2-xTB")
axes.vlines(model, 0, 0.8, color="#0b6e4f", lw=1.5, label="idle-s-gfn2")
axes.set(xlabel="frequency, 1/cm", yticks=[], ylim=(0, 1.2))
axes.legend(frameon=False, loc="upper center")
figure.savefig(OUT / "frequencies.svg", metadata={"Date": None})

numbers = {
    "O-H stretch of GFN2-xTB, 1/cm": float(reference[-1]),
    "O-H stretch of idle-s-gfn2, 1/cm": float(model[-1]),
    "mean absolute difference, 1/cm": float(np.abs(model - reference).mean()),
    "correction to the free energy of GFN2-xTB, eV": float(reference_gibbs),
    "correction to the free energy of idle-s-gfn2, eV": float(gibbs),
}
(OUT / "frequencies.json").write_text(json.dumps(numbers, indent=1) + "\n")
