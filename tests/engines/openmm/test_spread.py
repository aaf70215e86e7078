"""The reporter of a committee's spread, with and without a Simulation."""

import csv

import ase
import ase.build
import ase.io
import numpy as np
import openmm
import pytest
from openmm import app, unit
from typer.testing import CliRunner

from idle_md.cli.main import app as cli
from idle_md.deploy import load
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm import SpreadError, SpreadReporter, create_force
from idle_md.testing import CELL, Subject, random_structure
from idle_md.units import NM

ETHANOL = ase.build.molecule("CH3CH2OH")


@pytest.fixture(scope="module")
def model(committee_file):
    return load(committee_file())


@pytest.fixture(scope="module")
def crystal() -> ase.Atoms:
    """Atoms that a random potential cannot drive apart."""
    numbers, positions = random_structure(Subject(None, [1, 6, 7, 8], 4.0), 8)
    return ase.Atoms(numbers, positions, cell=CELL, pbc=True)


def spread_of(model, atoms: ase.Atoms) -> tuple[float, np.ndarray]:
    system = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
    energies, forces = model.evaluate_members(*system)
    return energies.std(ddof=1), np.sqrt(forces.var(0, ddof=1).sum(1))


def rows_of(path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def simulation_of(model, reporter, atoms=None, box=None) -> app.Simulation:
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number in ETHANOL.numbers:
        topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
    system = openmm.System()
    for mass in ETHANOL.get_masses():
        system.addParticle(mass)
    system.addForce(create_force(model, topology, atoms=atoms, backend="pythonforce"))
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0002)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(ETHANOL.positions / NM)
    simulation.reporters.append(reporter)
    return simulation


def test_reporter_writes_the_spread_of_a_simulation(model, tmp_path) -> None:
    file = tmp_path / "new" / "spread.csv"
    reporter = SpreadReporter(file, 4, model, ETHANOL.numbers)
    simulation = simulation_of(model, reporter)
    assert rows_of(file) == []
    simulation.step(6)
    simulation.step(6)
    rows = rows_of(file)
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert [row["time_ps"] for row in rows] == pytest.approx([0.0008, 0.0016, 0.0024])
    state = simulation.context.getState(positions=True)
    now = ETHANOL.copy()
    now.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    energy, forces = spread_of(model, now)
    assert rows[-1]["energy_std_ev"] == pytest.approx(energy, rel=1e-9)
    assert rows[-1]["force_std_ev_per_angstrom"] == pytest.approx(forces.max(), rel=1e-9)
    assert rows[-1]["atom"] == forces.argmax()


def test_simulation_stops_above_the_threshold_and_leaves_the_structure(model, tmp_path) -> None:
    _, forces = spread_of(model, ETHANOL)
    file = tmp_path / "spread.csv"
    reporter = SpreadReporter(file, 5, model, ETHANOL.numbers, threshold=0.5 * forces.max())
    simulation = simulation_of(model, reporter)
    message = r"stopped at step 5: the members' forces on atom \d+ spread by .*, the threshold is"
    with pytest.raises(SpreadError, match=message) as stop:
        simulation.step(100)
    assert simulation.currentStep == 5
    [row] = rows_of(file)
    error = stop.value
    assert (error.step, error.atom) == (5, row["atom"])
    assert error.spread == pytest.approx(row["force_std_ev_per_angstrom"], rel=1e-12)
    assert error.frame == tmp_path / "spread.stopped.xyz"
    frame = ase.io.read(error.frame)
    _, found = spread_of(model, frame)
    np.testing.assert_allclose(frame.arrays["force_std"], found, atol=1e-4)
    assert found.argmax() == error.atom
    assert frame.info["step"] == 5
    assert not frame.pbc.any()


def test_simulation_goes_on_below_the_threshold(model, tmp_path) -> None:
    _, forces = spread_of(model, ETHANOL)
    file = tmp_path / "spread.csv"
    reporter = SpreadReporter(file, 5, model, ETHANOL.numbers, threshold=100 * forces.max())
    simulation_of(model, reporter).step(10)
    assert len(rows_of(file)) == 2
    assert list(tmp_path.iterdir()) == [file]


def test_part_of_a_system_is_watched_alone(model, tmp_path) -> None:
    atoms = [2, 0, 5]
    reporter = SpreadReporter(
        tmp_path / "spread.csv", 1, model, ETHANOL.numbers, atoms=atoms, threshold=0.0
    )
    with pytest.raises(SpreadError) as stop:
        simulation_of(model, reporter, atoms=atoms).step(1)
    frame = ase.io.read(stop.value.frame)
    assert list(frame.numbers) == list(ETHANOL.numbers[atoms])
    assert stop.value.atom == atoms[int(frame.arrays["force_std"].argmax())]


def test_run_is_watched_from_its_start(model, crystal, tmp_path) -> None:
    file = tmp_path / "spread.csv"
    result = run_md(
        model, crystal, MDSettings(steps=20, interval=10, spread_file=file, platform="Reference")
    )
    rows = rows_of(file)
    assert [row["step"] for row in rows] == [0, 10, 20]
    np.testing.assert_allclose([row["time_ps"] for row in rows], result.times_ps, atol=1e-12)
    energy, forces = spread_of(model, result.final)
    assert rows[-1]["energy_std_ev"] == pytest.approx(energy, rel=1e-6)
    assert rows[-1]["force_std_ev_per_angstrom"] == pytest.approx(forces.max(), rel=1e-6)


def test_restart_keeps_the_rows_before_it(model, crystal, tmp_path) -> None:
    file, state = tmp_path / "spread.csv", tmp_path / "run.xml"
    settings = {"interval": 10, "spread_file": file, "platform": "Reference"}
    run_md(model, crystal, MDSettings(steps=20, checkpoint=state, **settings))
    with file.open("a") as rows:  # of steps after the restart file, which are done again
        rows.write("30,0.015,1.0,1.0,0\n")
    first = rows_of(file)
    run_md(model, crystal, MDSettings(steps=20, restart=state, **settings))
    rows = rows_of(file)
    assert [row["step"] for row in rows] == [0, 10, 20, 30, 40]
    assert rows[:2] == first[:2]
    assert rows[3] != first[3]


def test_run_stops_and_keeps_trajectory_and_cell(model, crystal, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpreadError, match=r"spread\.stopped\.xyz"):
        run_md(model, crystal, MDSettings(steps=20, trajectory="md.xyz", max_spread=1e-3))
    names = {path.name for path in tmp_path.iterdir()}
    records = {"md.run.yaml", "md.start.traj"}
    assert names == {"md.part.xyz", "spread.csv", "spread.stopped.xyz", *records}
    frame = ase.io.read("spread.stopped.xyz")
    np.testing.assert_allclose(frame.cell.array, CELL, atol=1e-6)
    assert frame.pbc.all()
    assert len(ase.io.read("md.part.xyz", ":")) == 1


def test_single_model_cannot_be_watched(model_file, tmp_path) -> None:
    file = tmp_path / "spread.csv"
    with pytest.raises(ValueError, match="no committee, so it has no spread"):
        SpreadReporter(file, 1, model_file(), ETHANOL.numbers)
    with pytest.raises(ValueError, match="no committee, so it has no spread"):
        run_md(model_file(), ETHANOL, MDSettings(max_spread=1.0, spread_file=file))
    assert not file.exists()


def test_bad_arguments_are_errors(model, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"does not know Cl \(atom 1\)"):
        SpreadReporter(tmp_path / "a.csv", 1, model, [6, 17])
    with pytest.raises(ValueError, match=r"atoms \[9\] are not among the 9 particles"):
        SpreadReporter(tmp_path / "a.csv", 1, model, ETHANOL.numbers, atoms=[9])
    (tmp_path / "a.csv").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write .*a\.csv/b\.csv"):
        SpreadReporter(tmp_path / "a.csv" / "b.csv", 1, model, ETHANOL.numbers)


def test_command_stops_with_the_reason(committee_file, tmp_path) -> None:
    ase.io.write(tmp_path / "ethanol.xyz", ETHANOL)
    command = ["md", str(committee_file()), str(tmp_path / "ethanol.xyz"), "--steps", "4"]
    command += ["--interval", "2", "--timestep", "0.1", "--spread-file", str(tmp_path / "s.csv")]
    going = CliRunner().invoke(cli, [*command, "--max-spread", "1e9"])
    assert going.exit_code == 0, going.output
    assert [row["step"] for row in rows_of(tmp_path / "s.csv")] == [0, 2, 4]
    stopped = CliRunner().invoke(cli, [*command, "--max-spread", "1e-3"])
    assert stopped.exit_code == 1
    assert "stopped at step 0" in str(stopped.exception)
    assert (tmp_path / "s.stopped.xyz").is_file()
