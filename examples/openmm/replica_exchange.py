"""Replica exchange of a peptide in vacuum: several temperatures that swap their structures.

    python replica_exchange.py model.pt
    python replica_exchange.py model.pt --device cuda --platform CUDA

OpenMM 8.6 brings the sampler, which simulates the replicas one after the other.
"""

import argparse
from pathlib import Path

import numpy as np
from openmm import LangevinMiddleIntegrator, Platform, System, app, unit

from idle_md.engines.openmm import create_force

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("model")
parser.add_argument("--replicas", type=int, default=4)
parser.add_argument("--hottest", type=float, default=500.0, help="temperature in K")
parser.add_argument("--iterations", type=int, default=100)
parser.add_argument("--steps", type=int, default=200, help="between exchanges")
parser.add_argument("--device", default="cpu", help="cpu, cuda, or cuda:1 of several GPUs")
parser.add_argument("--platform", default="Reference", help="OpenMM's; CUDA for device cuda")
parser.add_argument("--seed", type=int, default=0, help="of the thermostat")
options = parser.parse_args()
if not hasattr(app, "ReplicaExchangeSampler"):
    raise SystemExit(
        f"OpenMM {Platform.getOpenMMVersion()} has no ReplicaExchangeSampler: "
        "install 8.6, pip install 'openmm>=8.6'"
    )

pdb = app.PDBFile(str(Path(__file__).with_name("alanine_dipeptide.pdb")))
system = System()
for atom in pdb.topology.atoms():
    system.addParticle(atom.element.mass)
system.addForce(create_force(options.model, pdb.topology, periodic=False, device=options.device))

integrator = LangevinMiddleIntegrator(
    300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond
)
integrator.setRandomNumberSeed(options.seed + 1)
platform = Platform.getPlatformByName(options.platform)
simulation = app.Simulation(pdb.topology, system, integrator, platform)
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy(maxIterations=100)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, options.seed + 1)

temperatures = np.geomspace(300.0, options.hottest, options.replicas)
states = [{"temperature": temperature * unit.kelvin} for temperature in temperatures]
sampler = app.ReplicaExchangeSampler(states, simulation, options.steps)
energies: list[list[float]] = [[] for _ in states]
places: list[list[int]] = []


def record(sampler: app.ReplicaExchangeSampler) -> None:
    """Note the energy at every temperature, and where the replicas are."""
    places.append(list(sampler.replicaStateIndex))
    for replica, state in enumerate(sampler.replicaStateIndex):
        energy = sampler.replicaStateEnergy[replica][state]
        energies[state].append(energy.value_in_unit(unit.kilojoule_per_mole))


sampler.reporters.append(record)
sampler.simulate(options.iterations)
moved = np.diff(places, axis=0) != 0
for temperature, values in zip(temperatures, energies, strict=True):
    print(f"{temperature:.0f} K: {np.mean(values):.2f} kJ/mol, spread {np.std(values):.2f}")
print(f"replicas changed their temperature in {moved.mean():.0%} of the iterations")
