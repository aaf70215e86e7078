"""The plug-in of openmm-ml."""

import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import app

from idle_md.deploy import load
from idle_md.units import KJ_PER_MOL, NM
from tests.engines.openmm.test_force import CELL, NUMBERS, POSITIONS, energy_and_forces, topology_of

openmmml = pytest.importorskip("openmmml")

CHARGES = [-0.4, 0.2, 0.1, -0.3, 0.2, 0.2, -0.5, 0.5]
ALL = np.vstack([POSITIONS, [[4.0, 0.5, 0.0], [5.1, 0.2, 0.3]]])
PART = list(range(6))


@pytest.fixture(scope="module")
def path(model_file) -> str:
    return str(model_file())


def whole() -> app.Topology:
    """The molecule, and two particles that the model does not know."""
    return topology_of([*NUMBERS, 17, 11])


def classical(inside: bool = True) -> openmm.System:
    """A bond within the molecule and charges; without what is within it, if so wanted."""
    system, charges, bonds = openmm.System(), openmm.NonbondedForce(), openmm.HarmonicBondForce()
    for charge in CHARGES:
        system.addParticle(12.0)
        charges.addParticle(charge, 0.2, 0.3)
    if inside:
        bonds.addBond(0, 1, 0.12, 1000.0)
    else:
        for i in PART:
            for j in range(i):
                charges.addException(i, j, 0, 1, 0)
    system.addForce(charges)
    system.addForce(bonds)
    return system


def evaluated(system, positions=ALL, cell=None, **parameters):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    if cell is not None:
        context.setPeriodicBoxVectors(*(cell / NM))
    for name, value in parameters.items():
        context.setParameter(name, value)
    return energy_and_forces(context, positions)


@pytest.mark.parametrize("cell", [None, CELL])
def test_whole_system(path, backend, cell) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path, backend=backend)
    system = potential.createSystem(topology_of(box=cell))
    energy, forces = evaluated(system, POSITIONS, cell)
    expected = load(path).evaluate(NUMBERS, POSITIONS, cell, cell is not None)
    assert energy == pytest.approx(expected[0], abs=1e-8)
    np.testing.assert_allclose(forces, expected[1], atol=1e-8)


def test_mixed_system_adds_the_interactions(path, backend) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path, backend=backend)
    mixed = potential.createMixedSystem(whole(), classical(), PART, forceGroup=3)
    energy, forces = evaluated(mixed)
    alone, own = load(path).evaluate(NUMBERS, POSITIONS)
    around, others = evaluated(classical(inside=False))
    assert energy == pytest.approx(alone + around, abs=1e-6)
    np.testing.assert_allclose(forces[PART], own + others[PART], atol=1e-6)
    np.testing.assert_allclose(forces[6:], others[6:], atol=1e-6)
    assert [f.getForceGroup() for f in mixed.getForces() if f.getName() == "idle_md"] == [3]


def test_interpolation_ends_at_both_and_has_their_slope(path, backend) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path, backend=backend)
    system = potential.createMixedSystem(whole(), classical(), PART, interpolate=True)
    cv = next(f for f in system.getForces() if isinstance(f, openmm.CustomCVForce))
    cv.addEnergyParameterDerivative("lambda_interpolate")
    mixed = evaluated(potential.createMixedSystem(whole(), classical(), PART))
    for value, expected in ((0.0, evaluated(classical())), (1.0, mixed)):
        energy, forces = evaluated(system, lambda_interpolate=value)
        assert energy == pytest.approx(expected[0], abs=1e-5)
        np.testing.assert_allclose(forces, expected[1], atol=1e-5)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    energies = []
    for value in (0.4, 0.6):
        context.setParameter("lambda_interpolate", value)
        energies.append(energy_and_forces(context, ALL)[0])
    slopes = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()
    slope = slopes["lambda_interpolate"] * KJ_PER_MOL
    assert slope == pytest.approx((energies[1] - energies[0]) / 0.2, rel=1e-6)


def test_options_may_be_given_late(path) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path)
    total, _ = evaluated(potential.createSystem(topology_of()), POSITIONS)
    late = {"returnEnergyType": "interaction_energy", "kernels": "portable", "neighbors": "torch"}
    system = potential.createSystem(topology_of(), **late, precision="single")
    energy, _ = evaluated(system, POSITIONS)
    references = load(path).metadata.reference_energies_ev
    assert energy == pytest.approx(total - sum(references[z] for z in NUMBERS), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modelpath": "x"}, "unknown option 'modelpath': there are modelPath, device"),
        ({"precision": "half"}, "unknown precision 'half': there are single, double"),
        ({"returnEnergyType": "free"}, "unknown returnEnergyType 'free'"),
    ],
)
def test_unknown_options_are_errors(path, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        openmmml.MLPotential("idle-md", modelPath=path).createSystem(topology_of(), **options)
    with pytest.raises(ValueError, match="which model"):
        openmmml.MLPotential("idle-md").createSystem(topology_of())


def test_broken_torch_breaks_nothing_but_its_use(tmp_path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch is broken')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import openmmml
from openmm import app
potential = openmmml.MLPotential("idle-md", modelPath="model.pt")
assert "torch" not in sys.modules
try:
    potential.createSystem(app.Topology())
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "torch is broken"
