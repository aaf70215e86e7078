"""`idle-md md`."""

import ase.build
import ase.io
import pytest
from openmm import app as openmm_app
from openmm import unit
from typer.testing import CliRunner

from idle_md.cli.main import app

ETHANOL = ase.build.molecule("CH3CH2OH")


@pytest.fixture(scope="module")
def model(model_file):
    return model_file()


def invoke(*arguments):
    return CliRunner().invoke(app, ["md", *map(str, arguments)])


def test_xyz_runs_into_a_trajectory(model, tmp_path) -> None:
    ase.io.write(tmp_path / "ethanol.xyz", ETHANOL)
    result = invoke(
        *(model, tmp_path / "ethanol.xyz", "--engine", "openmm", "--ensemble", "nve"),
        *("--temperature", 100, "--timestep", 0.25, "--steps", 30, "--interval", 10),
        *("--backend", "pythonforce", "--platform", "Reference", "--seed", 3),
        *("--trajectory", tmp_path / "run.xyz"),
    )
    assert result.exit_code == 0, result.output
    frames = ase.io.read(tmp_path / "run.xyz", ":")
    assert [frame.info["time_ps"] for frame in frames] == pytest.approx([0, 0.0025, 0.005, 0.0075])
    assert "30 steps" in result.output
    assert "ns/day" in result.output
    assert "Reference through pythonforce" in result.output
    assert "meV/atom/ps" in result.output


def test_pdb_runs(model, tmp_path) -> None:
    topology = openmm_app.Topology()
    residue = topology.addResidue("ETH", topology.addChain())
    for number, symbol in enumerate(ETHANOL.symbols):
        element = openmm_app.Element.getBySymbol(symbol)
        topology.addAtom(f"{symbol}{number}", element, residue)
    with (tmp_path / "ethanol.pdb").open("w") as file:
        openmm_app.PDBFile.writeFile(topology, ETHANOL.positions * unit.angstrom, file)
    result = invoke(model, tmp_path / "ethanol.pdb", "--steps", 5)
    assert result.exit_code == 0, result.output
    assert "5 steps" in result.output


def test_run_goes_on_from_its_restart_file(model, tmp_path) -> None:
    ase.io.write(tmp_path / "ethanol.xyz", ETHANOL)
    command = (
        *(model, tmp_path / "ethanol.xyz", "--timestep", 0.1, "--steps", 20, "--interval", 10),
        *("--trajectory", tmp_path / "run.xyz", "--checkpoint", tmp_path / "run.xml"),
        *("--hydrogen-mass", 2),
    )
    assert invoke(*command).exit_code == 0
    again = invoke(*command)
    assert again.exit_code == 1
    assert "run.xyz exists, a trajectory: give another name" in str(again.exception)
    result = invoke(*command, "--restart", tmp_path / "run.xml")
    assert result.exit_code == 0, result.output
    frames = ase.io.read(tmp_path / "run.xyz", ":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 30, 40]
    assert frames[-1].info["time_ps"] == pytest.approx(0.004)
    assert "run.xml" in result.output


def test_broken_bonds_stop_a_run_unless_allowed(model, tmp_path) -> None:
    ase.io.write(tmp_path / "ethanol.xyz", ETHANOL)
    command = (
        *(model, tmp_path / "ethanol.xyz", "--temperature", 1e5, "--steps", 200),
        *("--interval", 5, "--trajectory", tmp_path / "run.dcd"),
    )
    stopped = invoke(*command)
    assert stopped.exit_code == 1
    assert "angstrom long" in str(stopped.exception)
    assert str(tmp_path / "run.last_good.xyz") in str(stopped.exception)
    assert (tmp_path / "run.last_good.xyz").is_file()
    (tmp_path / "run.part.dcd").unlink()
    result = invoke(*command, "--max-stretch", 0)
    assert result.exit_code == 0, result.output


def test_unknown_element_is_an_error(model, tmp_path) -> None:
    ase.io.write(tmp_path / "chloromethane.xyz", ase.build.molecule("CH3Cl"))
    result = invoke(model, tmp_path / "chloromethane.xyz", "--steps", 5)
    assert result.exit_code == 1
    assert "Cl (atom 1)" in str(result.exception)


@pytest.mark.parametrize("option", ["--ensemble", "--backend", "--engine"])
def test_misspelt_choice_lists_those_there_are(model, tmp_path, option) -> None:
    ase.io.write(tmp_path / "ethanol.xyz", ETHANOL)
    result = invoke(model, tmp_path / "ethanol.xyz", option, "opnmm")
    assert result.exit_code == 2
    assert "is not one of" in result.output
