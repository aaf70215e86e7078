"""A vibrational spectrum from dynamics.

Methanol moves for 8 ps at constant energy, at about 300 K, at ωB97X/6-31G* (`idle-s`). The Fourier
transform of the velocities' autocorrelation is the vibrational density of states; dynamics has the
anharmonicity that harmonic frequencies lack. The spectrum's resolution is 4 1/cm, and one
trajectory of one molecule is a noisy estimate of its intensities.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from matplotlib.figure import Figure

import idle_md

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
STEP_FS, EVERY, FRAMES = 0.5, 4, 4000

atoms = molecule("CH3OH")
atoms.calc = idle_md.Calculator("idle-s")
BFGS(atoms, logfile=None).run(fmax=0.01)
MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=np.random.default_rng(0))
Stationary(atoms)
ZeroRotation(atoms)
dynamics = VelocityVerlet(atoms, timestep=STEP_FS * units.fs)
velocities = np.empty((FRAMES, len(atoms), 3))
for frame in range(FRAMES):
    dynamics.run(EVERY)
    velocities[frame] = atoms.get_velocities()

window = np.hanning(FRAMES)[:, None, None]
power = np.abs(np.fft.rfft(window * velocities, axis=0)) ** 2  # (frequencies, atoms, 3)
density = (power.sum(axis=2) * atoms.get_masses()).sum(axis=1)
wavenumbers = np.fft.rfftfreq(FRAMES, EVERY * STEP_FS) * 1e15 / 2.99792458e10
stretches = (wavenumbers > 3300) & (wavenumbers < 4200)

figure = Figure(figsize=(5, 3.4), layout="constrained")
axes = figure.subplots()
axes.plot(wavenumbers, density / density.max(), color="#0b6e4f", lw=0.9)
axes.set(xlabel="frequency, 1/cm", ylabel="density of states", yticks=[], xlim=(0, 4200))
figure.savefig(OUT / "spectrum.svg", metadata={"Date": None})

peak = (wavenumbers * density)[stretches].sum() / density[stretches].sum()
numbers = {"centre of the O-H stretch, 1/cm": float(peak)}
(OUT / "spectrum.json").write_text(json.dumps(numbers, indent=1) + "\n")
