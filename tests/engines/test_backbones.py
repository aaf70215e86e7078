"""Every backbone in every engine; what else the engines can do is tested with one of them."""

import numpy as np
import openmm
import pytest
import torch

from idle_md.engines.openmm import create_force
from idle_md.units import NM

NUMBERS = [8, 6, 1, 7, 1, 1]
POSITIONS = 1.3 * np.array(
    [[0, 0, 0], [1, 0.1, 0], [0, 1, 0.2], [0.1, 0, 1], [1, 1, 0.1], [1.1, 0, 1]]
)


class Steps(openmm.MinimizationReporter):
    def __init__(self) -> None:
        super().__init__()
        self.energies: list[float] = []

    def report(self, iteration, x, grad, args) -> bool:
        self.energies.append(args["system energy"])
        return len(self.energies) >= 20


@pytest.mark.parametrize("name", ["hipnn", "gmnn"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_minimizer_can_report(model_file, name, backend, dtype) -> None:
    force = create_force(model_file(name=name, dtype=dtype), NUMBERS, backend=backend)
    system = openmm.System()
    for _ in NUMBERS:
        system.addParticle(12.0)
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform)
    context.setPositions(POSITIONS / NM)
    start = context.getState(energy=True).getPotentialEnergy()._value
    reporter = Steps()
    openmm.LocalEnergyMinimizer.minimize(context, reporter=reporter)
    assert reporter.energies[-1] < start - 1.0
