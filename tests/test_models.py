"""Models that come with the package: found by name wherever a model is given."""

import json
from pathlib import Path

import ase.build
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import idle_md
from idle_md.cli.main import app
from idle_md.deploy import export_checkpoint
from idle_md.deploy.artifact import read_metadata
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.run_file import read_run_file, write_run_file
from idle_md.models import FOLDER, SHIPPED, at_fidelity, checkpoint_path, model_path, shipped
from idle_md.nn import levels, load_checkpoint

MEBIBYTE = 2**20
EXPORTED = [(name, fidelity) for name, known in SHIPPED.items() for fidelity in known]


def molecule() -> ase.Atoms:
    return ase.build.molecule("CH3CH2OH")


def test_every_file_is_a_model_and_every_model_a_file() -> None:
    named = {checkpoint_path(name) for name in SHIPPED}
    named |= {model_path(at_fidelity(*each)) for each in EXPORTED}
    assert {path for path in FOLDER.iterdir() if path.suffix in (".ckpt", ".pt")} == named
    assert sum(path.stat().st_size for path in named) < 15 * MEBIBYTE


@pytest.mark.parametrize(("name", "fidelity"), EXPORTED)
def test_exported_models_are_those_of_the_checkpoint(
    name: str, fidelity: str, tmp_path: Path
) -> None:
    known = levels(*load_checkpoint(name))
    assert not Path(known[fidelity][1]["config"]["out"]).is_absolute()
    export_checkpoint(name, fidelity, tmp_path / "model.pt")
    atoms = molecule()
    expected, found = (
        idle_md.load(model, kernels="portable").evaluate(atoms.numbers, atoms.positions)
        for model in (tmp_path / "model.pt", at_fidelity(name, fidelity))
    )
    assert float(found[0]) == pytest.approx(float(expected[0]), abs=1e-6)
    torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=1e-5)
    about = read_metadata(at_fidelity(name, fidelity))
    assert about.fidelity == fidelity
    assert about.label_counts
    assert about.test_errors
    assert about.level_of_theory is not None


def test_files_of_the_current_folder_are_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "idle-s").mkdir()
    (tmp_path / "metrics.json").write_text(json.dumps({"test": {"wb97x": {"wrong": 1.0}}}))
    about = export_checkpoint("idle-s", "wb97x", tmp_path / "model.pt")
    assert about.fidelity == "wb97x"
    assert about.test_errors == {}
    result = CliRunner().invoke(app, ["info", "idle-s", "--json"])
    assert json.loads(result.output)["fidelity"] == "wb97x"


def test_the_bare_name_is_the_best_fidelity() -> None:
    for name, known in SHIPPED.items():
        assert model_path(name) == model_path(f"{name}-{known[-1]}")
        assert read_metadata(name).fidelity == known[-1]
        assert list(levels(*load_checkpoint(name)))[-1] == known[-1]


def test_by_name_in_ase() -> None:
    atoms = molecule()
    atoms.calc = idle_md.Calculator("idle-s-gfn2")
    assert np.abs(atoms.get_forces()).max() < 5.0


def test_by_name_in_openmm() -> None:
    openmm = pytest.importorskip("openmm")
    from openmmml import MLPotential

    from idle_md.engines.openmm import create_force

    atoms = molecule()
    system, context = openmm.System(), None
    for mass in atoms.get_masses():
        system.addParticle(mass)
    system.addForce(create_force("idle-s-gfn2", atoms.numbers))
    context = openmm.Context(system, openmm.VerletIntegrator(1e-3))
    context.setPositions(atoms.positions / 10)
    topology = openmm.app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number in atoms.numbers:
        topology.addAtom("X", openmm.app.Element.getByAtomicNumber(int(number)), residue)
    other = MLPotential("idle-s-gfn2").createSystem(topology)
    second = openmm.Context(other, openmm.VerletIntegrator(1e-3))
    second.setPositions(atoms.positions / 10)
    energies = [c.getState(energy=True).getPotentialEnergy()._value for c in (context, second)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-3)


def test_a_run_file_names_it(tmp_path: Path) -> None:
    settings = MDSettings(steps=10, trajectory=tmp_path / "run.xyz")
    file = write_run_file("idle-s-gfn2", molecule(), settings)
    assert file is not None
    assert str(read_run_file(file).model) == "idle-s-gfn2"


def test_other_fidelities() -> None:
    with pytest.raises(ValueError, match=r"idle-s has no fidelity 'dft': it has gfn2, wb97x"):
        at_fidelity("idle-s", "dft")
    with pytest.raises(ValueError, match=r"mine\.pt is no name of a shipped model.*idle-s"):
        at_fidelity("mine.pt", "gfn2")
    assert at_fidelity("mine.pt", None) == Path("mine.pt")
    with pytest.raises(FileNotFoundError, match=r"no model at idle-x.*idle-s"):
        idle_md.load("idle-x")
    assert "idle-s-gfn2" in shipped()


def test_unknown_elements_are_refused() -> None:
    atoms = ase.build.molecule("SiH4")
    atoms.calc = idle_md.Calculator("idle-s-gfn2")
    with pytest.raises(ValueError, match="Si"):
        atoms.get_potential_energy()


def test_commands() -> None:
    def told(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
        return result.output

    path = told("info", "idle-s", "--fidelity", "gfn2", "--path").strip()
    assert Path(path) == model_path("idle-s-gfn2")
    about = json.loads(told("info", "idle-s", "--fidelity", "gfn2", "--json"))
    assert about["fidelity"] == "gfn2"
