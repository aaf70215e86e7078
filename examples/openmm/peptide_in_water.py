"""A peptide in water: the model for the peptide, Amber for the water and between the two.

    python peptide_in_water.py model.pt

The peptide feels the water's point charges and Lennard-Jones sites (mechanical embedding). Bonds of
the peptide are not constrained, for the model describes them, so the timestep is short.
"""

import argparse
import sys
from pathlib import Path

from openmm import LangevinMiddleIntegrator, MonteCarloBarostat, app, unit
from openmmml import MLPotential

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("model")
parser.add_argument("--padding", type=float, default=1.0, help="nm of water around the peptide")
parser.add_argument("--steps", type=int, default=20_000)
parser.add_argument("--out", default="peptide_in_water.dcd")
options = parser.parse_args()

pdb = app.PDBFile(str(Path(__file__).with_name("alanine_dipeptide.pdb")))
peptide = list(range(pdb.topology.getNumAtoms()))
force_field = app.ForceField("amber14-all.xml", "amber14/tip3pfb.xml")
modeller = app.Modeller(pdb.topology, pdb.positions)
modeller.addSolvent(force_field, model="tip3p", padding=options.padding * unit.nanometer)

classical = force_field.createSystem(
    modeller.topology,
    nonbondedMethod=app.PME,
    nonbondedCutoff=min(1.0, 0.8 * options.padding) * unit.nanometer,
    constraints=None,
    rigidWater=True,
)
potential = MLPotential("idle-md", modelPath=options.model)
system = potential.createMixedSystem(modeller.topology, classical, peptide)
system.addForce(MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin))

integrator = LangevinMiddleIntegrator(
    300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond
)
simulation = app.Simulation(modeller.topology, system, integrator)
simulation.context.setPositions(modeller.positions)
simulation.minimizeEnergy(maxIterations=200)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin)

interval = max(1, options.steps // 20)
simulation.reporters += [
    app.DCDReporter(options.out, interval),
    app.StateDataReporter(
        sys.stdout, interval, time=True, potentialEnergy=True, density=True, speed=True
    ),
]
simulation.step(options.steps)
