"""Runs that go on from a restart file."""

import ase
import ase.build
import ase.io
import numpy as np
import openmm
import pytest
from openmm import app
from openmm.app.internal.xtc_utils import read_xtc

from idle_md.deploy import load
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.restart import read_checkpoint
from idle_md.engines.openmm.trajectory import part_of
from idle_md.testing import CELL, Subject, random_structure

RECORDS = ("run.yaml", "start.traj", "run.2.yaml", "start.2.traj")


@pytest.fixture(scope="module")
def model(model_file):
    return load(model_file())


@pytest.fixture(scope="module")
def crystal() -> ase.Atoms:
    """Atoms that a random potential cannot drive apart."""
    numbers, positions = random_structure(Subject(None, [1, 6, 7, 8], 4.0), 8)
    return ase.Atoms(numbers, positions, cell=CELL, pbc=True)


def nve(model, crystal, steps: int, progress=None, **settings):
    common = {"ensemble": "nve", "interval": 5, "timestep_fs": 0.25, "platform": "Reference"}
    common |= {"steps": steps, "max_stretch": 0}
    return run_md(model, crystal, MDSettings(**common | settings), progress=progress)


@pytest.mark.parametrize("name", ["run.xyz", "run.dcd", "run.xtc", "run.pdb"])
def test_two_halves_are_the_whole(model, crystal, tmp_path, name) -> None:
    file, state = tmp_path / "half" / name, tmp_path / "half" / "run.xml"
    whole = nve(model, crystal, 40, trajectory=tmp_path / name)
    first = nve(model, crystal, 20, trajectory=file, checkpoint=state)
    second = nve(model, crystal, 20, trajectory=file, checkpoint=state, restart=state)
    np.testing.assert_allclose(second.final.positions, whole.final.positions, atol=1e-9)
    times = np.concatenate([first.times_ps, second.times_ps[1:]])
    np.testing.assert_allclose(times, whole.times_ps, atol=1e-12)
    energies = np.concatenate([first.total_ev, second.total_ev[1:]])
    np.testing.assert_allclose(energies, whole.total_ev, atol=1e-8)
    records = {f"run.{what}" for what in RECORDS}
    assert second.settings.steps == 20
    assert read_checkpoint(state).state.getStepCount() == 40
    assert {path.name for path in file.parent.iterdir()} == {name, "run.xml", *records}
    if name == "run.xtc":
        for mine, expected in zip(
            *(read_xtc(str(f).encode()) for f in (file, tmp_path / name)), strict=True
        ):
            np.testing.assert_allclose(mine, expected, atol=2e-3)
    elif name == "run.dcd":
        mine, expected = file.read_bytes(), (tmp_path / name).read_bytes()
        assert mine[:180] == expected[:180]  # the header, up to when it was made
        assert len(mine) == len(expected)
    elif name == "run.pdb":
        assert app.PDBFile(str(file)).getNumFrames() == 9
        text = file.read_text()
        assert [f"MODEL     {k:4d}\n" in text for k in range(1, 11)] == 9 * [True] + [False]
    else:
        frames = ase.io.read(file, ":")
        assert [frame.info["step"] for frame in frames] == list(range(0, 41, 5))


@pytest.mark.parametrize("name", ["run.xyz", "run.dcd", "run.xtc", "run.pdb"])
def test_frames_after_the_restart_file_are_done_again(model, crystal, tmp_path, name) -> None:
    def stop(done: int, speed: float) -> None:
        if done == 30:
            raise KeyboardInterrupt

    file, state = tmp_path / name, tmp_path / "run.xml"
    with pytest.raises(KeyboardInterrupt):
        nve(
            model,
            crystal,
            40,
            trajectory=file,
            checkpoint=state,
            checkpoint_interval=20,
            progress=stop,
        )
    with part_of(file).open("ab") as part:
        part.write(b"half a frame")
    nve(model, crystal, 20, trajectory=file, restart=state)
    whole = tmp_path / f"whole.{name[-3:]}"
    nve(model, crystal, 40, trajectory=whole)
    mine, expected = file.read_bytes(), whole.read_bytes()
    if name == "run.dcd":
        mine, expected = mine[:180] + mine[260:], expected[:180] + expected[260:]
    assert mine == expected


def test_thermostat_goes_on_with_other_random_numbers(model, crystal, tmp_path) -> None:
    settings = {"steps": 10, "interval": 5, "platform": "Reference", "friction_per_ps": 100.0}
    run_md(model, crystal, MDSettings(checkpoint=tmp_path / "a.xml", **settings))
    second = run_md(model, crystal, MDSettings(restart=tmp_path / "a.xml", **settings))
    again = run_md(model, crystal, MDSettings(restart=tmp_path / "a.xml", **settings))
    assert np.array_equal(second.final.positions, again.final.positions)
    assert second.times_ps == pytest.approx([0.005, 0.0075, 0.01])


def test_ensemble_can_change(model, crystal, tmp_path) -> None:
    settings = {"steps": 300, "interval": 100, "temperature_K": 50.0, "max_stretch": 0}
    state = tmp_path / "npt.xml"
    squeezed = run_md(model, crystal, MDSettings(ensemble="npt", checkpoint=state, **settings))
    assert np.abs(squeezed.final.cell.array - CELL).max() > 1e-5
    nvt = run_md(model, crystal, MDSettings(restart=state, **settings))
    np.testing.assert_allclose(nvt.final.cell.array, squeezed.final.cell.array, atol=1e-9)
    run_md(model, crystal, MDSettings(ensemble="npt", restart=state, **settings))


def test_state_is_openmms_own(model, crystal, tmp_path) -> None:
    result = nve(
        model, crystal, 5, checkpoint=tmp_path / "a--b.xml", trajectory=tmp_path / "a--b.xyz"
    )
    state = openmm.XmlSerializer.deserialize((tmp_path / "a--b.xml").read_text())
    positions = 10.0 * state.getPositions(asNumpy=True)._value
    np.testing.assert_allclose(positions, result.final.positions, atol=1e-12)
    assert read_checkpoint(tmp_path / "a--b.xml").trajectory == "a--b.xyz"
    plain = tmp_path / "plain.xml"
    plain.write_text(openmm.XmlSerializer.serialize(state))
    assert nve(model, crystal, 5, restart=plain).times_ps[0] == pytest.approx(0.00125)


def test_restart_of_another_system_is_an_error(model, crystal, tmp_path) -> None:
    state = tmp_path / "run.xml"
    nve(model, crystal, 5, checkpoint=state)
    with pytest.raises(ValueError, match=r"run\.xml holds 8 particles, the structure 5"):
        run_md(model, ase.build.molecule("CH4"), MDSettings(restart=state))
    other = crystal.copy()
    other.numbers[:] = 6
    with pytest.raises(ValueError, match=r"run\.xml is of .*, the structure of C8"):
        run_md(model, other, MDSettings(restart=state))


@pytest.mark.parametrize("kept", [0, 50, 400, -70])
def test_damaged_restart_file_is_named(model, crystal, tmp_path, kept) -> None:
    state = tmp_path / "run.xml"
    nve(model, crystal, 5, checkpoint=state)
    text = state.read_text()
    state.write_text(text[: text.index("</State>") + 4] if kept < 0 else text[:kept])
    with pytest.raises(
        ValueError, match=r"run\.xml cannot be read as a restart file, it is damaged"
    ):
        nve(model, crystal, 5, restart=state)


def test_restart_without_positions_or_numbers_is_an_error(model, crystal, tmp_path) -> None:
    state = tmp_path / "run.xml"
    nve(model, crystal, 5, checkpoint=state)
    text = state.read_text()
    first = text.index('x="', text.index("<Velocity ")) + 3
    state.write_text(text[:first] + "nan" + text[text.index('"', first) :])
    with pytest.raises(ValueError, match=r"run\.xml holds values that are not numbers"):
        nve(model, crystal, 5, restart=state)
    cut = text[: text.index("<Velocities>")] + text[text.index("</Velocities>") + 13 :]
    state.write_text(cut)
    with pytest.raises(ValueError, match=r"run\.xml cannot be read as a restart file"):
        nve(model, crystal, 5, restart=state)
    with pytest.raises(FileNotFoundError, match=r"no restart file at .*absent\.xml"):
        nve(model, crystal, 5, restart=tmp_path / "absent.xml")


def test_only_its_own_trajectory_is_appended_to(model, crystal, tmp_path) -> None:
    state, file = tmp_path / "run.xml", tmp_path / "run.xyz"
    nve(model, crystal, 5, checkpoint=state, trajectory=file)
    other = tmp_path / "other.xyz"
    other.write_text("of another run")
    with pytest.raises(FileExistsError, match=r"other\.xyz exists, a trajectory"):
        nve(model, crystal, 5, restart=state, trajectory=other)
    assert other.read_text() == "of another run"
    nve(model, crystal, 5, restart=state, trajectory=tmp_path / "new.xyz")
    assert [f.info["step"] for f in ase.io.read(tmp_path / "new.xyz", ":")] == [5, 10]
    nve(model, crystal, 5, restart=state, trajectory=file)
    with pytest.raises(FileExistsError, match=r"run\.xyz is complete and goes on beyond"):
        nve(model, crystal, 5, restart=state, trajectory=file)
    file.write_text("short")
    with pytest.raises(ValueError, match=r"run\.part\.xyz is shorter than it was"):
        nve(model, crystal, 5, restart=state, trajectory=file)
    part_of(file).unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*run\.xyz to go on with"):
        nve(model, crystal, 5, restart=state, trajectory=file)


def test_settings_that_contradict_are_errors(model, crystal, tmp_path) -> None:
    with pytest.raises(ValueError, match="checkpoint_interval 7 is no multiple of interval 5"):
        nve(model, crystal, 5, checkpoint=tmp_path / "a.xml", checkpoint_interval=7)
    with pytest.raises(ValueError, match="leave minimize out"):
        nve(model, crystal, 5, restart=tmp_path / "a.xml", minimize=True)
