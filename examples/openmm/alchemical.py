"""Free energy of going from a force field to the model, for a peptide in vacuum.

    python alchemical.py model.pt

The energy is (1 - lambda) MM + lambda ML, so its derivative is ML - MM. Its mean at every lambda,
integrated by Gauss and Legendre, is the free energy that turns one description into the other.
"""

import argparse
from pathlib import Path

import numpy as np
from openmm import LangevinMiddleIntegrator, app, unit

from idle_md.engines.openmm import create_mixed_system

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("model")
parser.add_argument("--windows", type=int, default=5)
parser.add_argument("--steps", type=int, default=10_000, help="in every window")
options = parser.parse_args()

pdb = app.PDBFile(str(Path(__file__).with_name("alanine_dipeptide.pdb")))
classical = app.ForceField("amber14-all.xml").createSystem(pdb.topology, constraints=None)
atoms = list(range(pdb.topology.getNumAtoms()))
system = create_mixed_system(
    options.model, pdb.topology, classical, atoms, interpolate=True, energy="interaction"
)

integrator = LangevinMiddleIntegrator(
    300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond
)
simulation = app.Simulation(pdb.topology, system, integrator)
context = simulation.context
context.setPositions(pdb.positions)


def energy(switch: float) -> float:
    """Return the energy in kJ/mol at a value of the switch."""
    context.setParameter("lambda_interpolate", switch)
    found = context.getState(energy=True).getPotentialEnergy()
    return float(found.value_in_unit(unit.kilojoule_per_mole))


nodes, weights = np.polynomial.legendre.leggauss(options.windows)
means = []
for switch in (nodes + 1) / 2:
    context.setParameter("lambda_interpolate", switch)
    simulation.minimizeEnergy(maxIterations=100)
    context.setVelocitiesToTemperature(300 * unit.kelvin)
    simulation.step(options.steps // 5)  # equilibration
    samples = []
    for _ in range(40):
        context.setParameter("lambda_interpolate", switch)
        simulation.step(max(1, options.steps // 40))
        samples.append(energy(1) - energy(0))
    means.append(np.mean(samples))
    error = np.std(samples, ddof=1) / np.sqrt(len(samples))
    print(f"lambda {switch:.3f}: <ML - MM> = {means[-1]:.2f} +- {error:.2f} kJ/mol")
print(f"free energy from MM to ML: {weights @ means / 2:.2f} kJ/mol")
