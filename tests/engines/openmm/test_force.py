import logging
import pickle
import pickletools
import re
import subprocess
import sys
import warnings

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from idle_md.deploy import load
from idle_md.engines.openmm import (
    FileComputation,
    OpenMMModule,
    PythonComputation,
    backend_of,
    create_force,
)
from idle_md.engines.openmm.module import Attachment
from idle_md.native.places import find_library
from idle_md.testing import CELL
from idle_md.units import KJ_PER_MOL, NM

NUMBERS = [8, 6, 1, 7, 1, 1]
WHOLE = Attachment(NUMBERS, list(range(6)), periodic=False)
POSITIONS = 1.3 * np.array(
    [[0, 0, 0], [1, 0.1, 0], [0, 1, 0.2], [0.1, 0, 1], [1, 1, 0.1], [1.1, 0, 1]]
)


@pytest.fixture(scope="module")
def model(model_file):
    return load(model_file())


def context_of(force: openmm.Force, n_particles: int = len(NUMBERS), platform="Reference"):
    system = openmm.System()
    for _ in range(n_particles):
        system.addParticle(12.0)
    system.addForce(force)
    runs_on = openmm.Platform.getPlatformByName(platform)
    return openmm.Context(system, openmm.VerletIntegrator(0.0005), runs_on)


def energy_and_forces(context: openmm.Context, positions=POSITIONS):
    context.setPositions(positions / NM)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL
    forces = state.getForces(asNumpy=True)._value * KJ_PER_MOL / NM
    return energy, forces


def topology_of(numbers=NUMBERS, box=None) -> app.Topology:
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number in numbers:
        element = app.Element.getByAtomicNumber(number) if number else None
        topology.addAtom("X", element, residue)
    if box is not None:
        topology.setPeriodicBoxVectors(box / NM * unit.nanometer)
    return topology


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_those_of_the_model(model_file, backend, platform, dtype) -> None:
    path = model_file(dtype=dtype)
    context = context_of(create_force(path, NUMBERS, backend=backend), platform=platform)
    energy, forces = energy_and_forces(context)
    expected, expected_forces = load(path).evaluate(NUMBERS, POSITIONS)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    assert abs(energy - expected) <= tolerance * len(NUMBERS)
    np.testing.assert_allclose(forces, expected_forces, atol=tolerance, rtol=tolerance)


def test_particles_outside_the_model_feel_nothing(model, backend) -> None:
    atoms = [4, 0, 3]
    numbers = [8, 17, 17, 7, 1, 17]  # chlorine is unknown, and not asked for
    force = create_force(model, numbers, atoms=atoms, backend=backend)
    energy, forces = energy_and_forces(context_of(force))
    expected, expected_forces = model.evaluate([1, 8, 7], POSITIONS[atoms])
    assert energy == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(forces[atoms], expected_forces, atol=1e-9)
    assert not forces[[1, 2, 5]].any()


def test_periodicity_is_that_of_the_topology_unless_told(model, backend) -> None:
    boxed, open_ = topology_of(box=CELL), topology_of()
    assert create_force(model, boxed, backend=backend).usesPeriodicBoundaryConditions()
    assert not create_force(model, open_, backend=backend).usesPeriodicBoundaryConditions()
    force = create_force(model, boxed, backend=backend, periodic=False)
    assert not force.usesPeriodicBoundaryConditions()
    energy, _ = energy_and_forces(context_of(force))
    assert energy == pytest.approx(model.evaluate(NUMBERS, POSITIONS)[0], abs=1e-9)


def test_system_comes_back_from_xml_in_a_fresh_process(model, backend, tmp_path) -> None:
    context = context_of(create_force(model, topology_of(box=CELL), backend=backend))
    context.setPeriodicBoxVectors(*(CELL / NM))
    energy, _ = energy_and_forces(context)
    system = context.getSystem()
    system.setDefaultPeriodicBoxVectors(*(CELL / NM))
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    code = f"""
import openmm
import idle_md.engines.openmm
system = openmm.XmlSerializer.deserialize(open({str(tmp_path / "system.xml")!r}).read())
platform = openmm.Platform.getPlatformByName("Reference")
context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
context.setPositions({(POSITIONS / NM).tolist()})
print(context.getState(energy=True).getPotentialEnergy()._value.hex())
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = float.fromhex(result.stdout.strip()) * KJ_PER_MOL
    assert found == pytest.approx(energy, abs=1e-9)
    assert found == pytest.approx(model.evaluate(NUMBERS, POSITIONS, CELL, True)[0], abs=1e-8)


def test_xml_runs_without_this_package(model_file, no_torchforce, tmp_path) -> None:
    """With openmm, torch, openmmtorch and the operators alone, and an error without these."""
    if no_torchforce:
        pytest.skip(no_torchforce)
    context = context_of(create_force(model_file(), NUMBERS, backend="torchforce"))
    energy, _ = energy_and_forces(context)
    file = tmp_path / "system.xml"
    file.write_text(openmm.XmlSerializer.serialize(context.getSystem()))

    code = f"""
import sys
import torch, openmm, openmmtorch
def energy():
    system = openmm.XmlSerializer.deserialize(open({str(file)!r}).read())
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions({(POSITIONS / NM).tolist()})
    return context.getState(energy=True).getPotentialEnergy()._value
try:
    energy()
except Exception as error:
    print(error, file=sys.stderr)
torch.ops.load_library({str(find_library())!r})
print(energy().hex())
assert not any(name.startswith("idle_md") for name in sys.modules)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float.fromhex(done.stdout.strip()) * KJ_PER_MOL == pytest.approx(energy, abs=1e-9)
    assert "torch.classes.idle_md.NeighborList" in done.stderr


def test_torchforce_works_when_openmm_is_imported_before_torch(model_file, no_torchforce) -> None:
    if no_torchforce:
        pytest.skip(no_torchforce)
    code = f"""
import openmm
from idle_md.engines.openmm import create_force
system = openmm.System()
system.addParticle(16.0)
system.addForce(create_force({str(model_file())!r}, [8], backend="torchforce"))
context = openmm.Context(system, openmm.VerletIntegrator(0.001))
context.setPositions([[0, 0, 0]])
print(context.getState(energy=True).getPotentialEnergy()._value)
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(result.stdout) * KJ_PER_MOL == pytest.approx(
        load(model_file()).evaluate([8], np.zeros((1, 3)))[0], abs=1e-9
    )
    assert "deprecated" not in result.stderr


def test_barostat_moves_the_box_and_the_forces_follow(model, backend) -> None:
    force = create_force(model, NUMBERS, backend=backend, periodic=True)
    barostat = openmm.MonteCarloBarostat(1.0, 300.0, 1)
    barostat.setRandomNumberSeed(1)
    system = openmm.System()
    for _ in NUMBERS:
        system.addParticle(12.0)
    system.addForce(force)
    system.addForce(barostat)
    system.setDefaultPeriodicBoxVectors(*(CELL / NM))
    integrator = openmm.LangevinMiddleIntegrator(300.0, 10.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(POSITIONS / NM)
    integrator.step(30)
    state = context.getState(energy=True, positions=True, forces=True)
    cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
    assert np.abs(cell - CELL).max() > 1e-3
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    energy, forces = model.evaluate(NUMBERS, positions, cell, True)
    assert state.getPotentialEnergy()._value * KJ_PER_MOL == pytest.approx(energy, abs=1e-8)
    np.testing.assert_allclose(
        state.getForces(asNumpy=True)._value * KJ_PER_MOL / NM, forces, atol=1e-8
    )


class Steps(openmm.MinimizationReporter):
    def __init__(self) -> None:
        super().__init__()
        self.energies: list[float] = []

    def report(self, iteration, x, grad, args) -> bool:
        self.energies.append(args["system energy"])
        return len(self.energies) >= 20


def test_minimizer_can_report(model, backend) -> None:
    context = context_of(create_force(model, NUMBERS, backend=backend))
    context.setPositions(POSITIONS / NM)
    reporter = Steps()
    openmm.LocalEnergyMinimizer.minimize(context, reporter=reporter)
    assert reporter.energies[-1] < reporter.energies[0]


@pytest.mark.parametrize("kernels", ["native", "portable"])
@pytest.mark.parametrize("where", [1e7, np.nan])
def test_exploded_system_is_an_error_and_not_a_crash(model_file, backend, kernels, where) -> None:
    force = create_force(model_file(), NUMBERS, backend=backend, kernels=kernels)
    context = context_of(force)
    away = POSITIONS.copy()
    away[0, 0] = where
    with pytest.raises(openmm.OpenMMException, match="flown apart"):
        energy_and_forces(context, away)


def test_positions_in_float32_give_forces_in_float32(model) -> None:
    module = OpenMMModule(model, WHOLE)
    energy, forces = module(torch.tensor(POSITIONS / NM, dtype=torch.float32))
    assert forces.dtype == torch.float32
    expected, expected_forces = model.evaluate(NUMBERS, POSITIONS)
    assert float(energy) * KJ_PER_MOL == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(
        forces.numpy() * KJ_PER_MOL / NM, expected_forces, atol=1e-4 * np.abs(expected_forces).max()
    )


def test_pickles_do_not_depend_on_where_the_code_stands(model, model_file) -> None:
    """They are inside the XML of Systems, which outlive a move of a module."""
    path = model_file()
    for computation in (
        PythonComputation(WHOLE.script(model), model.device),
        FileComputation(path, load(path), WHOLE),
    ):
        words = [
            str(argument).split()[0]
            for _, argument, _ in pickletools.genops(pickle.dumps(computation))
            if isinstance(argument, str) and argument.startswith("idle_md")
        ]
        assert set(words) == {"idle_md.engines.openmm"}


def test_computation_pickles_with_its_model(model) -> None:
    computation = PythonComputation(WHOLE.script(model), model.device)
    computation = pickle.loads(pickle.dumps(computation))
    context = context_of(create_force(model, NUMBERS, backend="pythonforce"))
    context.setPositions(POSITIONS / NM)
    energy, forces = computation(context.getState(positions=True))
    expected, expected_forces = model.evaluate(NUMBERS, POSITIONS)
    assert energy * KJ_PER_MOL == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(forces * KJ_PER_MOL / NM, expected_forces, atol=1e-9)


def test_auto_takes_torchforce_where_it_can(model, no_torchforce, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="idle_md"):
        force = create_force(model, NUMBERS)
    expected = "pythonforce" if no_torchforce else "torchforce"
    assert backend_of(force) == expected
    assert f"OpenMM runs high through {expected}" in caplog.text


SEARCHES = ["native", "vesin", "torch"]


@pytest.mark.parametrize("kernels", ["native", "portable"])
@pytest.mark.parametrize("neighbors", SEARCHES)
def test_all_ways_to_find_neighbours_agree(model_file, backend, kernels, neighbors) -> None:
    """Of a subset in any order, unwrapped; periodic where that can be."""
    path = model_file(dtype=torch.float64)
    atoms = [4, 0, 3, 5]
    numbers, moved = [NUMBERS[k] for k in atoms], POSITIONS + np.array([0, 0, 1.0])
    for periodic in (False, True) if neighbors != "torch" else (False,):
        moved[3] += periodic * CELL[1]
        force = create_force(
            path, NUMBERS, atoms, backend, periodic, kernels=kernels, neighbors=neighbors
        )
        context = context_of(force)
        context.setPeriodicBoxVectors(*(CELL / NM))
        energy, forces = energy_and_forces(context, moved)
        expected = load(path, kernels="portable").evaluate(numbers, moved[atoms], CELL, periodic)
        assert energy == pytest.approx(expected[0], abs=1e-8)
        np.testing.assert_allclose(forces[atoms], expected[1], atol=1e-8)
        assert not forces[[1, 2]].any()


@pytest.mark.parametrize(
    ("periodic", "neighbors", "message"),
    [
        (True, "torch", "'torch' is for systems that are not periodic: use 'vesin'"),
        (False, "tree", "unknown neighbors 'tree': there are auto, native, vesin, torch, nnpops"),
    ],
)
def test_neighbours_that_cannot_be_found_are_errors(model, periodic, neighbors, message) -> None:
    with pytest.raises(ValueError, match=message):
        create_force(model, NUMBERS, periodic=periodic, neighbors=neighbors)


def test_auto_finds_neighbours_natively_unless_the_graph_is_to_be_portable(
    model_file, caplog
) -> None:
    def found(kernels, **settings):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="idle_md"):
            create_force(model_file(**settings), NUMBERS, kernels=kernels)
        return re.search(r"neighbours are found by (\w+)", caplog.text)[1]

    assert found("auto") == "native"
    assert found("portable") == "vesin"
    assert found("auto", name="gmnn") == "native"


def test_scaled_energy_has_a_derivative(model, backend) -> None:
    context = context_of(create_force(model, NUMBERS, backend=backend, scale="lambda_ml"))
    energy, forces = energy_and_forces(context)
    context.setParameter("lambda_ml", 0.25)
    scaled, scaled_forces = energy_and_forces(context)
    assert scaled == pytest.approx(0.25 * energy, rel=1e-12)
    np.testing.assert_allclose(scaled_forces, 0.25 * forces, atol=1e-9)
    state = context.getState(parameterDerivatives=True)
    slope = state.getEnergyParameterDerivatives()["lambda_ml"] * KJ_PER_MOL
    assert slope == pytest.approx((energy - scaled) / 0.75, rel=1e-10)
    force = context.getSystem().getForce(0)
    assert backend_of(force) == backend


@pytest.mark.parametrize(
    "scale", ["model", "lambda-ml", "2x", "", "a b", "x;y", "MonteCarloPressure", "λ"]
)
def test_scales_that_are_no_names_or_taken_are_refused(model, scale) -> None:
    with pytest.raises(ValueError, match=f"scale '{scale}' cannot be the name of a parameter"):
        create_force(model, NUMBERS, scale=scale)


def test_bonds_to_atoms_outside_are_warned_of(model) -> None:
    topology = topology_of()
    first, second, *_ = topology.atoms()
    topology.addBond(first, second)
    with pytest.warns(UserWarning, match=r"atom 1 .* bonded to atom 0 .*: the model does not know"):
        create_force(model, topology, atoms=[1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_force(model, topology, atoms=[0, 1])
        create_force(model, topology)


def test_xml_may_name_the_file_instead_of_holding_the_model(model_file, tmp_path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(model_file().read_bytes())
    force = create_force(path, NUMBERS, embed=False)
    xml = openmm.XmlSerializer.serialize(force)
    energy, _ = energy_and_forces(context_of(force))
    assert len(xml) < 5000
    again, _ = energy_and_forces(context_of(openmm.XmlSerializer.deserialize(xml)))
    assert again == energy
    path.write_bytes(model_file(seed=1).read_bytes())
    with pytest.raises(openmm.OpenMMException, match=r"model\.pt is another model than the one"):
        energy_and_forces(context_of(openmm.XmlSerializer.deserialize(xml)))
    path.unlink()
    with pytest.raises(openmm.OpenMMException, match="no model at"):
        energy_and_forces(context_of(openmm.XmlSerializer.deserialize(xml)))


def test_only_a_path_with_pythonforce_can_be_named(model, model_file) -> None:
    with pytest.raises(ValueError, match="embed=False needs the path of a model"):
        create_force(model, NUMBERS, embed=False)
    with pytest.raises(ValueError, match="and backend 'pythonforce'"):
        create_force(model_file(), NUMBERS, backend="torchforce", embed=False)


def test_unknown_elements_are_named_with_their_particles(model) -> None:
    message = r"does not know Cl \(atoms 1, 4\), particles without an element \(atom 3\)"
    with pytest.raises(ValueError, match=message):
        create_force(model, topology_of([8, 17, 1, 0, 17]), atoms=[0, 1, 3, 4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"atoms": [0, 6]}, r"atoms \[6\] are not among the 6 particles"),
        ({"atoms": [0, -1]}, r"atoms \[-1\] are not among"),
        ({"atoms": [0, 2, 2]}, r"atoms \[2\] are given more than once"),
        ({"atoms": []}, "no atoms"),
        ({"backend": "torch"}, "unknown backend 'torch': there are auto, torchforce, python"),
    ],
)
def test_bad_arguments_are_errors(model, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        create_force(model, NUMBERS, **arguments)
