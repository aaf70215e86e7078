"""Runs that are stopped where they break, in a Simulation of OpenMM."""

from contextlib import nullcontext

import ase
import ase.build
import ase.io
import numpy as np
import openmm
import pytest
from openmm import app

from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.guard import GuardReporter, UnstableError

ETHANE = ase.build.molecule("C2H6")


def simulation_of(energy: str, guard: GuardReporter, atoms: ase.Atoms = ETHANE, **parameters):
    """Particles in an external potential, ``E`` in kJ/mol of ``x`` in nm."""
    system = openmm.System()
    force = openmm.CustomExternalForce(energy)
    force.addPerParticleParameter("index")
    for name, value in parameters.items():
        force.addGlobalParameter(name, value)
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for k, number in enumerate(atoms.numbers):
        system.addParticle(atoms.get_masses()[k])
        force.addParticle(k, [k])
        topology.addAtom(f"X{k}", app.Element.getByAtomicNumber(int(number)), residue)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(0.1 * atoms.cell.array))
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    integrator = openmm.VerletIntegrator(0.001)
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(0.1 * atoms.positions)
    simulation.reporters.append(guard)
    return simulation


def test_good_run_goes_on_and_leaves_nothing(tmp_path) -> None:
    guard = GuardReporter(tmp_path / "good.xyz", 5, ETHANE)
    simulation = simulation_of("10*x^2+0*index", guard)
    with guard.watching(simulation.context):
        simulation.step(20)
    assert guard.step == 20
    assert list(tmp_path.iterdir()) == []


def test_broken_bond_stops_at_the_next_check(tmp_path) -> None:
    guard = GuardReporter(tmp_path / "new" / "good.xyz", 10, ETHANE)
    simulation = simulation_of("-pull*x*delta(index-7)", guard, pull=1e3)  # the last hydrogen
    match = r"between steps \d+ and \d+ \(the C-H bond of atoms 1 and 7 is .* 1\.09 at the start"
    with pytest.raises(UnstableError, match=match) as stop:
        simulation.step(1000)
    error = stop.value
    assert error.atoms == [1, 7]
    assert error.step == simulation.currentStep
    frame = ase.io.read(error.frame)
    assert (frame.info["step"], frame.info["time_ps"]) == (
        error.step - 10,
        guard.good.info["time_ps"],
    )
    reach = 2.0 * (0.76 + 0.31)
    assert frame.get_distance(1, 7) <= reach
    state = simulation.context.getState(positions=True)
    now = 10.0 * state.getPositions(asNumpy=True)._value
    assert np.linalg.norm(now[1] - now[7]) > reach
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["good.xyz"]


def test_reactions_can_be_allowed(tmp_path) -> None:
    guard = GuardReporter(tmp_path / "good.xyz", 10, ETHANE, max_stretch=None)
    simulation_of("-1e4*x*delta(index-7)", guard).step(200)
    assert guard.good.get_distance(1, 7) > 5.0
    with pytest.raises(ValueError, match=r"max_stretch is 1\.2: up to 1\.3 sums"):
        GuardReporter(tmp_path / "good.xyz", 10, ETHANE, max_stretch=1.2)


def test_bonds_across_a_box_are_whole(tmp_path) -> None:
    across = ase.Atoms("CO", [[0.2, 3, 3], [5.0, 3, 3]], cell=[6, 6, 6], pbc=True)
    guard = GuardReporter(tmp_path / "good.xyz", 1, across)
    assert guard.lengths == pytest.approx([1.2])
    simulation_of("0*x*index", guard, across).step(3)
    state = simulation_of("0*x*index", guard, across)
    state.context.setPositions(0.1 * np.array([[0.2, 3, 3], [5.0, 5.9, 3]]))
    with pytest.raises(UnstableError, match=r"the C-O bond of atoms 0 and 1 is 3\.14 angstrom"):
        state.step(1)
    assert ase.io.read(tmp_path / "good.xyz").pbc.all()


@pytest.mark.parametrize(
    ("energy", "what"),
    [
        ("sqrt(limit-x-0.1*(1-delta(index-3)))", "the (force|position) of atom 3 is not a number"),
        ("log(0*x)+0*index+0*limit", "is not a number"),
    ],
)
def test_what_is_not_a_number_is_named(tmp_path, energy, what) -> None:
    guard = GuardReporter(tmp_path / "good.xyz", 1, ETHANE, max_stretch=None)
    at = 0.1 * ETHANE.positions[:, 0].max()
    simulation = simulation_of(energy.replace("-0.1*", "+1*"), guard, limit=at - 0.05)
    simulation.context.setPositions(
        0.1 * ETHANE.positions + [[0.2 * (k == 3), 0, 0] for k in range(8)]
    )
    with pytest.raises(UnstableError, match=what) as stop, guard.watching(simulation.context):
        simulation.step(5)
    assert stop.value.frame.is_file()
    assert np.isfinite(ase.io.read(stop.value.frame).positions).all()
    assert stop.value.atoms


@pytest.mark.parametrize(
    ("reason", "what"), [("no room", "energy is not a number: no room"), ("", "force of atom 0")]
)
def test_reason_why_there_is_no_number_is_told(tmp_path, reason, what) -> None:
    def no_number(state):
        return np.nan, np.full((8, 3), np.nan)

    guard = GuardReporter(tmp_path / "good.xyz", 5, ETHANE, explain=lambda atoms: reason)
    system = openmm.System()
    for _ in range(8):
        system.addParticle(1.0)
    system.addForce(openmm.PythonForce(no_number))
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(0.1 * ETHANE.positions)
    with pytest.raises(UnstableError, match=what):
        guard.report(None, context.getState(positions=True, forces=True, energy=True))


def explode(state):
    if state.getStepCount() >= 17:
        raise ValueError("the atoms have flown apart")
    return 0.0, np.zeros((8, 3))


def test_exceptions_of_openmm_become_the_same_error(tmp_path) -> None:
    guard = GuardReporter(tmp_path / "good.xyz", 5, ETHANE)
    simulation = simulation_of("0*x*index", guard)
    system = simulation.system
    system.addForce(openmm.PythonForce(explode))
    simulation.context.reinitialize(preserveState=True)
    simulation.context.setVelocities([[0, 0, float(k == 2)] for k in range(8)])
    match = r"between steps 15 and 1\d \(.*flown apart, first of all at atom 2\): start from"
    with pytest.raises(UnstableError, match=match) as stop, guard.watching(simulation.context):
        simulation.step(100)
    assert isinstance(stop.value.__cause__, openmm.OpenMMException)
    assert ase.io.read(stop.value.frame).info["step"] == 15


def test_exceptions_during_relaxation_become_the_same_error(
    model_file, tmp_path, monkeypatch
) -> None:
    def fail(context):
        raise openmm.OpenMMException("Particle coordinate is NaN")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(openmm.LocalEnergyMinimizer, "minimize", fail)
    with pytest.raises(UnstableError, match="coordinate is NaN"):
        run_md(model_file(), ETHANE, MDSettings(steps=1, minimize=True))


def test_molecules_that_meet_at_the_start_have_no_bond_where_a_topology_says_so(tmp_path) -> None:
    """As waters do that were put into a box, before they are relaxed."""
    pair = ase.Atoms("OH", [[0, 0, 0], [1.18, 0, 0]])
    apart = ase.Atoms("OH", [[0, 0, 0], [5.0, 0, 0]])
    no_bonds = np.zeros((0, 2), dtype=np.int64)
    for bonds, stops in ((None, True), (no_bonds, False)):
        guard = GuardReporter(tmp_path / "good.xyz", 1, pair, bonds=bonds)
        simulation = simulation_of("0*x", guard, pair)
        simulation.context.setPositions(0.1 * apart.positions)
        with pytest.raises(UnstableError, match="O-H bond") if stops else nullcontext():
            simulation.step(1)
