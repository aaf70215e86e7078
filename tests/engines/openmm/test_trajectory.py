import struct

import ase.build
import ase.io
import numpy as np
import pytest
from openmm import app
from openmm.app.internal.xtc_utils import read_xtc

from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.trajectory import part_of, writing_trajectory
from idle_md.structures import read_structure

ETHANOL = ase.build.molecule("CH3CH2OH")


@pytest.fixture(scope="module")
def path(model_file):
    return model_file()


def run(path, trajectory, atoms=ETHANOL, progress=None, **settings):
    common = {"steps": 50, "interval": 20, "max_stretch": 0, "trajectory": trajectory}
    return run_md(path, atoms, MDSettings(**common, **settings), progress=progress)


def test_xyz_has_every_report(path, tmp_path) -> None:
    result = run(path, tmp_path / "new" / "run.xyz")
    frames = ase.io.read(tmp_path / "new" / "run.xyz", ":")
    assert len(frames) == len(result.times_ps) == 4
    np.testing.assert_allclose(frames[0].positions, ETHANOL.positions, atol=1e-7)
    np.testing.assert_allclose(frames[-1].positions, result.final.positions, atol=1e-7)
    assert frames[-1].info["time_ps"] == pytest.approx(0.025)
    energies = [frame.info["potential_ev"] for frame in frames]
    np.testing.assert_allclose(energies, result.potential_ev, atol=1e-6)
    names = {file.name for file in (tmp_path / "new").iterdir()}
    assert names == {"run.xyz", "run.run.yaml", "run.start.traj"}


def read_dcd(file) -> np.ndarray:
    """Return the coordinates (frames, N, 3) of a DCD file without unit cells."""
    content = file.read_bytes()
    [frames] = struct.unpack_from("<i", content, 8)
    atoms = len(ETHANOL)
    size = 4 * atoms + 8
    body = content[len(content) - frames * 3 * size :]
    values = [np.frombuffer(body, "<f4", atoms, offset=k * size + 4) for k in range(3 * frames)]
    return np.array(values).reshape(frames, 3, atoms).transpose(0, 2, 1)


def test_dcd_has_every_report(path, tmp_path) -> None:
    result = run(path, tmp_path / "run.dcd")
    frames = read_dcd(tmp_path / "run.dcd")
    assert len(frames) == 4
    np.testing.assert_allclose(frames[0], ETHANOL.positions, atol=1e-5)
    np.testing.assert_allclose(frames[-1], result.final.positions, atol=1e-5)


def test_frames_carry_their_cell(path, tmp_path) -> None:
    crystal = ase.Atoms("CHON", 1.5 * np.eye(4, 3), cell=[6.0, 6.5, 7.0], pbc=True)
    result = run(path, tmp_path / "run.xyz", crystal, ensemble="npt", seed=2)
    frames = ase.io.read(tmp_path / "run.xyz", ":")
    assert frames[0].pbc.all()
    np.testing.assert_allclose(frames[0].cell.array, np.diag([6.0, 6.5, 7.0]), atol=1e-7)
    np.testing.assert_allclose(frames[-1].cell.array, result.final.cell.array, atol=1e-7)


@pytest.mark.parametrize("name", ["run.xyz", "run.dcd"])
def test_interrupted_run_leaves_the_frames_so_far(path, tmp_path, name) -> None:
    def stop(done: int, speed: float) -> None:
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, tmp_path / name, progress=stop)
    assert not (tmp_path / name).exists()
    part = (tmp_path / name).with_suffix(f".part{name[-4:]}")
    frames = ase.io.read(part, ":") if name.endswith("xyz") else read_dcd(part)
    assert len(frames) == 3


@pytest.mark.parametrize("name", ["run.xyz", "run.dcd", "run.xtc", "run.pdb"])
@pytest.mark.parametrize("part", [False, True])
def test_existing_frames_are_never_overwritten(path, tmp_path, name, part) -> None:
    existing = part_of(tmp_path / name) if part else tmp_path / name
    existing.write_text("an earlier run")
    what = "what an interrupted run left" if part else "a trajectory"
    with pytest.raises(FileExistsError, match=rf"run\..* exists, {what}: give another name"):
        run(path, tmp_path / name)
    assert existing.read_text() == "an earlier run"
    assert list(tmp_path.iterdir()) == [existing]


def read_back(file) -> tuple[np.ndarray, np.ndarray | None]:
    """Return coordinates (frames, N, 3) in angstrom, and times in ps where there are any."""
    if file.suffix == ".pdb":
        pdb = app.PDBFile(str(file))
        count = pdb.getNumFrames()
        positions = [pdb.getPositions(asNumpy=True, frame=k)._value for k in range(count)]
        return 10.0 * np.array(positions), None
    positions, _, times, steps = read_xtc(str(file).encode())
    return 10.0 * positions.transpose(2, 0, 1), (times, steps)


@pytest.mark.parametrize("name", ["run.xtc", "run.pdb"])
def test_xtc_and_pdb_have_every_report(path, tmp_path, name) -> None:
    result = run_md(
        path, ETHANOL, MDSettings(steps=60, interval=20, max_stretch=0, trajectory=tmp_path / name)
    )
    positions, times = read_back(tmp_path / name)
    assert len(positions) == len(result.times_ps) == 4
    np.testing.assert_allclose(positions[0], ETHANOL.positions, atol=6e-3)
    np.testing.assert_allclose(positions[-1], result.final.positions, atol=6e-3)
    if times is not None:
        np.testing.assert_allclose(times[0], result.times_ps, atol=1e-6)
        assert list(times[1]) == [0, 20, 40, 60]


@pytest.mark.parametrize("name", ["run.dcd", "run.xtc", "run.pdb"])
def test_binary_frames_carry_their_cell(path, tmp_path, name) -> None:
    cell = [[6.0, 0.0, 0.0], [-3.0, 5.2, 0.0], [1.0, 1.0, 7.0]]
    crystal = ase.Atoms("CHON", 1.5 * np.eye(4, 3), cell=cell, pbc=True)
    result = run_md(path, crystal, MDSettings(steps=2, interval=1, trajectory=tmp_path / name))
    expected = result.final.cell.cellpar()
    if name == "run.dcd":
        content = (tmp_path / name).read_bytes()
        frame = len(content) - 3 * (4 * 4 + 8) - 56
        a, cos_c, b, cos_b, cos_a, c = struct.unpack_from("<6d", content, frame + 4)
        angles = 90.0 - np.degrees(np.arcsin([cos_a, cos_b, cos_c]))
        np.testing.assert_allclose([a, b, c, *angles], expected, rtol=1e-6)
    elif name == "run.xtc":
        _, box, _, _ = read_xtc(str(tmp_path / name).encode())
        np.testing.assert_allclose(10 * box[:, :, -1], result.final.cell.array, rtol=1e-6)
    else:
        np.testing.assert_allclose(read_structure(tmp_path / name).cell.cellpar(), expected, 1e-3)


def test_unwritable_trajectory_is_an_error_before_the_run(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"cannot write .*file/run\.xyz"),
        writing_trajectory(tmp_path / "file" / "run.xyz", 1.0),
    ):
        pytest.fail("the block must not run")
