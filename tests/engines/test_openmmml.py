"""The plug-in of openmm-ml."""

import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import app

from idle_md.deploy import load
from idle_md.engines.openmm import create_force, create_mixed_system
from idle_md.units import KJ_PER_MOL, NM
from tests.engines.openmm.test_force import CELL, NUMBERS, POSITIONS, energy_and_forces, topology_of
from tests.engines.openmm.test_mixing import evaluated as in_openmm
from tests.engines.openmm.test_mixing import learned, waters

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


def interpolated(potential, path, backend) -> openmm.System:
    """By openmm-ml where it hands the System over, which 1.7 does not."""
    if hasattr(openmmml.MLPotential, "getSupportedEmbeddings"):
        return potential.createMixedSystem(whole(), classical(), PART, interpolate=True)
    with pytest.raises(
        ValueError, match=r"create_mixed_system\(model, topology, system, atoms, in"
    ):
        potential.createMixedSystem(whole(), classical(), PART, interpolate=True)
    return create_mixed_system(path, whole(), classical(), PART, interpolate=True, backend=backend)


def test_interpolation_ends_at_both_and_has_their_slope(path, backend) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path, backend=backend)
    system = interpolated(potential, path, backend)
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


def bonded() -> app.Topology:
    """The same particles, with bonds from the first to all of the part."""
    topology = whole()
    atoms = list(topology.atoms())
    for atom in PART[1:]:
        topology.addBond(atoms[0], atoms[atom])
    return topology


def test_checks_are_those_of_the_command(path) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path)
    named = "; ".join(rf"atom 0 .* bonded to atom {other} .*, which is not" for other in (2, 3, 4))
    rest = r"; and 1 bonds more: no link atoms are made, .* radicals, .*; choose whole molecules"
    with pytest.raises(ValueError, match=named + rest):
        potential.createMixedSystem(bonded(), classical(), [0, 1])
    unknown = classical()
    unknown.addForce(openmm.GayBerneForce())
    with pytest.raises(ValueError, match=r"holds a GayBerneForce .* how to take away"):
        potential.createMixedSystem(bonded(), unknown, PART)


def test_charged_parts_are_named(path) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path)
    system = classical()
    assert sum(CHARGES[k] for k in PART) == pytest.approx(0.0)
    system.getForce(0).setParticleParameters(0, CHARGES[0] + 1.0, 0.2, 0.3)
    with pytest.warns(UserWarning, match=r"has a charge of \+1 e"):
        potential.createMixedSystem(whole(), system, PART)
    topology = topology_of()
    if hasattr(next(topology.atoms()), "formalCharge"):
        next(topology.atoms()).formalCharge = 1
        with pytest.warns(UserWarning, match=r"has a charge of \+1 e"):
            potential.createSystem(topology)


@pytest.mark.parametrize("water", ["tip3p.xml", "tip4pew.xml"])
def test_nothing_is_left_beside_a_model_of_everything(path, water) -> None:
    field = app.ForceField(water)
    topology, positions, atoms = waters(field)
    potential = openmmml.MLPotential("idle-md", modelPath=path)
    mixed = potential.createMixedSystem(topology, field.createSystem(topology), atoms)
    own = learned(load(path), topology, positions, atoms)
    assert in_openmm(mixed, positions)[0] == pytest.approx(own, abs=1e-6)


def test_forces_that_openmm_ml_has_emptied_are_named(path) -> None:
    system = classical()
    bias = openmm.CustomBondForce("10*(r-0.2)^2")
    bias.addBond(0, 3)
    bias.setName("my bias")
    system.addForce(bias)
    potential = openmmml.MLPotential("idle-md", modelPath=path)
    with pytest.warns(
        UserWarning, match=r"of a CustomBondForce \(my bias, 10\*\(r-0\.2\)\^2\) are"
    ):
        potential.createMixedSystem(whole(), system, PART)


def test_constraints_go_or_stay_as_asked(path) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path)
    system = classical()
    system.addConstraint(0, 1, 0.1)
    system.addConstraint(6, 7, 0.1)
    for removed, left in ((True, 1), (False, 2)):
        mixed = potential.createMixedSystem(whole(), system, PART, removeConstraints=removed)
        assert mixed.getNumConstraints() == left
    with pytest.raises(ValueError, match=r"create_mixed_system|rigid nor held by a bond"):
        potential.createMixedSystem(whole(), system, PART, interpolate=True)


def test_molecules_are_those_of_the_topology(path) -> None:
    potential = openmmml.MLPotential("idle-md", modelPath=path)
    mixed = potential.createMixedSystem(bonded(), classical(), PART)
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001))
    assert sorted(map(sorted, context.getMolecules()))[0] == sorted(PART)


def test_box_that_cannot_hold_the_atoms_is_refused(path) -> None:
    """That of a placeholder, CRYST1 of 1 angstrom, through each way of making a System."""
    potential = openmmml.MLPotential("idle-md", modelPath=path)
    for box, message in (
        (np.eye(3), r"volume of 1 cubic angstrom for 6 atoms.*CRYST1"),
        (np.diag([30.0, 30.0, 0.1]), r"is flat, 0\.1 angstrom between two of its faces"),
    ):
        topology = topology_of(box=box)
        with pytest.raises(ValueError, match=message):
            potential.createSystem(topology)
        with pytest.raises(ValueError, match=message):
            create_force(path, topology)
        assert create_force(path, topology, periodic=False) is not None


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


READ = """
import multiprocessing, sys
import openmm, openmmml

def energy(system):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions({positions})
    return context.getState(energy=True).getPotentialEnergy()._value

if __name__ == "__main__":
    system = openmm.XmlSerializer.deserialize(open({xml!r}).read())
    assert not any(name == "tests" for name in sys.modules)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for found in (energy(system), pool.map_async(energy, [system]).get(timeout=120)[0]):
            print(found.hex())
"""


def test_importing_openmmml_is_enough_to_read_a_system(path, backend, tmp_path) -> None:
    """Here and in the processes of a pool, which are given it as an argument."""
    potential = openmmml.MLPotential("idle-md", modelPath=path, backend=backend)
    system = potential.createSystem(topology_of())
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    positions, xml = (POSITIONS / NM).tolist(), str(tmp_path / "system.xml")
    (tmp_path / "read.py").write_text(READ.format(positions=positions, xml=xml))
    command = [sys.executable, "-W", "ignore", str(tmp_path / "read.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    expected, _ = evaluated(system, POSITIONS)
    found = [float.fromhex(line) * KJ_PER_MOL for line in done.stdout.split()]
    assert found == pytest.approx([expected, expected], abs=1e-8)


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
