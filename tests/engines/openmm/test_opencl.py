"""OpenMM's platform OpenCL on the processor: a GPU's code path, in single precision.

`pip install 'idle-md[opencl]'` brings what runs it, and IDLE_MD_OPENCL names another folder with
the same. Libraries have to be known when a process starts, so each test is a process of its own.
TorchForce is not among them: the plug-in of openmmtorch 1.5 ends the process there.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = Path(os.environ.get("IDLE_MD_OPENCL", Path(sys.prefix) / "lib"))
ICD = LIBRARIES / "libintelocl.so"

pytestmark = pytest.mark.skipif(not ICD.is_file(), reason="pip install 'idle-md[opencl]'")

SCRIPT = """
import sys
import ase.build
import numpy as np
import openmm
from openmm import unit
import idle_md
from idle_md.engines.openmm import create_force

box = ase.build.molecule("H2O", cell=[3.1] * 3, pbc=True).repeat(3)
box.rattle(0.05, seed=1)
model = idle_md.load(sys.argv[1])
system = openmm.System()
system.setDefaultPeriodicBoxVectors(*(box.cell.array * unit.angstrom))
charges = openmm.NonbondedForce()  # without any effect, but with a cutoff: atoms are reordered
charges.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
charges.setCutoffDistance(0.4)
for mass in box.get_masses():
    system.addParticle(mass)
    charges.addParticle(0.0, 0.1, 0.0)
system.addForce(charges)
numbers = box.numbers.tolist()
system.addForce(create_force(model, numbers, backend="pythonforce", periodic=True))
platform = openmm.Platform.getPlatformByName("OpenCL")
contexts = [openmm.Context(system, openmm.VerletIntegrator(0.0002), platform) for _ in range(2)]
for number, context in enumerate(contexts):
    context.setPositions((box.positions + 0.1 * number) / 10)
    context.setVelocitiesToTemperature(300, number + 1)
for steps in (0, 300):  # reordered after 250
    for context in contexts:
        context.getIntegrator().step(steps)
    for context in contexts:
        state = context.getState(energy=True, forces=True, positions=True)
        atoms = box.copy()
        atoms.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        [expected] = idle_md.predict(model, [atoms])
        forces = state.getForces(asNumpy=True)._value / 964.8533212331002
        energy = state.getPotentialEnergy()._value / 96.48533212331002
        scale = np.sqrt(np.mean(expected.forces**2))
        assert abs(energy - expected.energy) < 1e-5 * len(atoms), (energy, expected.energy)
        assert np.abs(forces - expected.forces).max() < 1e-4 * scale
print(platform.getPropertyValue(contexts[0], "Precision"))
"""


def test_boxes_in_two_contexts(model_file) -> None:
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(LIBRARIES),
        "OCL_ICD_FILENAMES": str(ICD),
    }
    command = [sys.executable, "-c", SCRIPT, str(model_file())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["single"]
