"""Runs of molecular dynamics as files."""

from pathlib import Path

import ase
import ase.build
import ase.io
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.deploy import load
from idle_md.engines.dynamics import run_md
from idle_md.engines.lammps.process import why_not
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.run_file import RunFile, read_run_file

ETHANOL = ase.build.molecule("CH3CH2OH")
SHORT = {"steps": 20, "interval": 5, "timestep_fs": 0.2, "platform": "Reference", "seed": 7}


@pytest.fixture(scope="module")
def model(model_file):
    return model_file()


@pytest.fixture
def start(tmp_path):
    ase.io.write(tmp_path / "ethanol.xyz", ETHANOL)
    return tmp_path / "ethanol.xyz"


def invoke(*arguments):
    return CliRunner().invoke(app, ["md", *map(str, arguments)])


def write(path, **content):
    path.write_text(yaml.safe_dump({name: str(value) for name, value in content.items()}))
    return path


def test_a_run_is_repeated_bit_for_bit_by_the_file_beside_it(model, start, tmp_path) -> None:
    options = ("--steps", 20, "--interval", 5, "--timestep", 0.2, "--seed", 7, "--no-minimize")
    done = invoke(model, start, *options, "--trajectory", tmp_path / "md.xyz")
    assert done.exit_code == 0, done.output
    again = invoke(tmp_path / "md.run.yaml", "--trajectory", tmp_path / "again.xyz")
    assert again.exit_code == 0, again.output
    assert "OpenMM Reference" in again.output
    assert (tmp_path / "again.xyz").read_bytes() == (tmp_path / "md.xyz").read_bytes()
    first, second = (
        yaml.safe_load((tmp_path / f"{name}.run.yaml").read_text()) for name in ("md", "again")
    )
    assert second.pop("trajectory") == str(tmp_path / "again.xyz")
    assert first.pop("trajectory") == str(tmp_path / "md.xyz")
    assert first == second
    assert first["sha256"]["model"] == load(model).metadata.content_sha256
    assert {"platform": "Reference", "minimize": False, "max_stretch": 2.0}.items() <= first.items()
    assert "auto" not in first.values()
    assert {"idle-md", "torch", "openmm"} <= set(first["versions"])
    assert {path.name for path in tmp_path.iterdir()} == {
        *("ethanol.xyz", "md.xyz", "md.run.yaml", "again.xyz", "again.run.yaml")
    }


def test_a_start_in_memory_is_kept_exactly(model, tmp_path) -> None:
    crystal = ase.Atoms("CHON", 1.5 * np.eye(4, 3) + 1 / 3, cell=[6.1, 6.5, 7.0], pbc=True)
    crystal.set_masses([13.0, None, None, None])
    crystal.info = {"charge": 0.0, "of": object()}
    settings = MDSettings(**SHORT, ensemble="nve", trajectory=tmp_path / "a.xyz")
    first = run_md(model, crystal, settings)
    run = read_run_file(tmp_path / "a.run.yaml", {"trajectory": tmp_path / "b.xyz"})
    assert run.structure == tmp_path / "a.start.traj"
    second = run_md(run.model, run.structure, run)
    assert np.array_equal(first.final.positions, second.final.positions)
    assert np.array_equal(first.total_ev, second.total_ev)
    assert (tmp_path / "a.xyz").read_bytes() == (tmp_path / "b.xyz").read_bytes()


def test_options_override_a_file_that_was_written_by_hand(model, start, tmp_path) -> None:
    file = write(tmp_path / "run.yaml", model=model, structure=start, **SHORT, ensemble="nve")
    result = invoke(file, "--steps", 10)
    assert result.exit_code == 0, result.output
    assert "10 steps" in result.output
    assert "meV/atom/ps" in result.output
    ase.io.write(tmp_path / "other.xyz", ase.build.molecule("CH4"))
    options = ("--trajectory", tmp_path / "md.xyz", "--ensemble", "nvt")
    assert invoke(file, tmp_path / "other.xyz", *options).exit_code == 0
    assert len(ase.io.read(tmp_path / "md.xyz")) == 5
    recorded = read_run_file(tmp_path / "md.run.yaml")
    assert (recorded.steps, recorded.ensemble) == (20, "nvt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stpes: 10", r"run\.yaml: unknown key 'stpes'; did you mean 'steps'\?"),
        ("steps: ten", r"run\.yaml: steps: Input should be a valid integer"),
        ("engine: lammps\nplatform: CPU", r"run\.yaml: .*platform is for engine openmm"),
        ("steps: [", r"run\.yaml: not valid YAML"),
        ("just words", r"run\.yaml must be a mapping of keys such as engine"),
        ("steps: 10", r"run\.yaml names no model: add the line `model: FILE`"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_it(tmp_path, content, message) -> None:
    (tmp_path / "run.yaml").write_text(content)
    result = invoke(tmp_path / "run.yaml")
    assert result.exit_code == 1
    with pytest.raises(ValueError, match=message):
        raise result.exception


def test_the_example_is_a_run_file() -> None:
    run = read_run_file(Path(__file__).parents[2] / "examples" / "md.yaml")
    assert (run.structure, run.trajectory) == (Path("molecule.xyz"), Path("md.dcd"))
    assert (run.steps, run.minimize) == (100_000, True)


def test_what_is_missing_is_named(model, tmp_path) -> None:
    absent = invoke(tmp_path / "run.yaml")
    assert "no run file at" in str(absent.exception)
    alone = invoke(model)
    assert alone.exit_code == 2
    assert "give a start after the model" in alone.output


def test_files_that_have_changed_are_refused(model, start, model_file, tmp_path) -> None:
    settings = MDSettings(**SHORT, trajectory=tmp_path / "md.xyz")
    run_md(model, start, settings)
    file = tmp_path / "md.run.yaml"
    assert read_run_file(file, {"model": model_file(seed=5)}).steps == 20  # asked for
    ase.io.write(start, ase.build.molecule("CH4"))
    with pytest.raises(ValueError, match=r"ethanol\.xyz is another structure .*out of sha256"):
        read_run_file(file)
    content = yaml.safe_load(file.read_text())
    del content["sha256"]["structure"]
    file.write_text(yaml.safe_dump(content))
    assert read_run_file(file).steps == 20
    file.write_text(yaml.safe_dump(content | {"model": str(model_file(seed=5))}))
    with pytest.raises(ValueError, match=r"model\.pt is another model than the one that this run"):
        read_run_file(file)


def test_a_model_in_memory_is_named_by_its_hash(model, start, tmp_path) -> None:
    run_md(load(model), start, MDSettings(**SHORT, trajectory=tmp_path / "md.xyz"))
    run = read_run_file(tmp_path / "md.run.yaml")
    assert run.model is None
    assert run.sha256["model"] == load(model).metadata.content_sha256
    assert read_run_file(tmp_path / "md.run.yaml", {"model": model}).model == model


def test_the_file_of_a_restart_says_so_and_leaves_the_first(model, start, tmp_path) -> None:
    state, frames = tmp_path / "md.xml", tmp_path / "md.xyz"
    settings = {**SHORT, "trajectory": frames, "checkpoint": state}
    run_md(model, start, MDSettings(**settings))
    first = (tmp_path / "md.run.yaml").read_text()
    kept = state.read_bytes()
    run_md(model, start, MDSettings(**settings, restart=state))
    assert (tmp_path / "md.run.yaml").read_text() == first
    assert len(ase.io.read(frames, ":")) == 9
    with pytest.raises(ValueError, match=r"md\.xml is another restart than the one"):
        read_run_file(tmp_path / "md.run.2.yaml")
    state.write_bytes(kept)
    again = read_run_file(tmp_path / "md.run.2.yaml", {"trajectory": tmp_path / "new.xyz"})
    assert again.restart == state
    run_md(again.model, again.structure, again)
    new, whole = ase.io.read(tmp_path / "new.xyz", ":"), ase.io.read(frames, ":")
    assert [frame.info["step"] for frame in new] == [20, 25, 30, 35, 40]
    for mine, expected in zip(new[1:], whole[5:], strict=True):
        assert np.array_equal(mine.positions, expected.positions)


def test_no_file_is_written_of_a_run_without_a_trajectory(model, start, tmp_path) -> None:
    run_md(model, start, MDSettings(**SHORT))
    assert list(tmp_path.iterdir()) == [start]


def test_a_run_file_holds_all_settings_of_its_engine(model, start, tmp_path) -> None:
    run_md(model, start, MDSettings(**SHORT, trajectory=tmp_path / "md.xyz"))
    content = yaml.safe_load((tmp_path / "md.run.yaml").read_text())
    own = {"model", "structure", "sha256", "versions"}
    assert own == set(RunFile.model_fields) - set(MDSettings.model_fields)
    assert set(content) == own | set(MDSettings().served())


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_lammps_repeats_its_runs(model, start, tmp_path) -> None:
    short = ("--engine", "lammps", "--steps", 10, "--interval", 5, "--timestep", 0.1)
    done = invoke(model, start, *short, "--trajectory", tmp_path / "md.lammpstrj")
    assert done.exit_code == 0, done.output
    again = invoke(tmp_path / "md.run.yaml", "--trajectory", tmp_path / "again.lammpstrj")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.lammpstrj").read_text() == (tmp_path / "md.lammpstrj").read_text()
    content = yaml.safe_load((tmp_path / "md.run.yaml").read_text())
    assert content["engine"] == "lammps"
    assert "platform" not in content
