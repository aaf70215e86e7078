"""A molecule in vacuum: relax it, then Langevin dynamics.

python vacuum.py model.pt [alanine_dipeptide.pdb]
"""

import argparse
import sys
from pathlib import Path

from openmm import LangevinMiddleIntegrator, System, app, unit

from idle_md.engines.openmm import create_force

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("model")
parser.add_argument("pdb", nargs="?", default=Path(__file__).with_name("alanine_dipeptide.pdb"))
parser.add_argument("--steps", type=int, default=20_000)
parser.add_argument("--out", default="vacuum.dcd")
options = parser.parse_args()

pdb = app.PDBFile(str(options.pdb))
system = System()
for atom in pdb.topology.atoms():
    system.addParticle(atom.element.mass)
system.addForce(create_force(options.model, pdb.topology))

integrator = LangevinMiddleIntegrator(
    300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond
)
simulation = app.Simulation(pdb.topology, system, integrator)
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy()
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin)

interval = max(1, options.steps // 20)
simulation.reporters += [
    app.DCDReporter(options.out, interval),
    app.StateDataReporter(
        sys.stdout, interval, time=True, potentialEnergy=True, temperature=True, speed=True
    ),
]
simulation.step(options.steps)
