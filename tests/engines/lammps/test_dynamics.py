"""Dynamics in LAMMPS."""

import re
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest

from idle_md import Calculator
from idle_md.deploy import load
from idle_md.engines.dynamics import run_md
from idle_md.engines.lammps.process import run_process, why_not
from idle_md.engines.md_settings import MDSettings
from tests.engines.lammps.systems import grid, molecule, slab

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def path(model_file):
    return model_file(name="painn")


def test_constant_energy_of_a_turned_slab(path, tmp_path) -> None:
    atoms = slab()
    seen: list[int] = []
    settings = {"ensemble": "nve", "temperature_K": 100.0, "timestep_fs": 0.1, "interval": 10}
    result = run_md(
        path,
        atoms,
        MDSettings(engine="lammps", steps=40, **settings),
        progress=lambda done, speed: seen.append(done),
    )
    assert seen == [10, 20, 30, 40]
    assert np.allclose(result.times_ps, [0, 0.001, 0.002, 0.003, 0.004])
    assert np.ptp(result.total_ev) < 0.01 * result.kinetic_ev[0]
    assert result.kinetic_ev[0] == pytest.approx(1.5 * 35 * 8.617e-5 * 100, rel=1e-3)
    final = result.final
    final.calc = Calculator(path)
    assert final.get_potential_energy() == pytest.approx(result.potential_ev[-1], abs=1e-6)
    assert final.get_kinetic_energy() == pytest.approx(result.kinetic_ev[-1], rel=1e-5)
    assert np.allclose(final.cell[:2], atoms.cell[:2])


def test_velocities_that_are_given_are_kept(path) -> None:
    atoms = molecule()
    atoms.set_velocities(np.random.default_rng(0).normal(size=(9, 3)) * 0.01)
    result = run_md(path, atoms, MDSettings(engine="lammps", ensemble="nve", steps=1, interval=1))
    assert result.kinetic_ev[0] == pytest.approx(atoms.get_kinetic_energy(), rel=1e-5)


def test_restart_on_two_ranks_goes_on(path, tmp_path) -> None:
    atoms = grid((5, 3, 3), 2.2, seed=3)
    settings = {"ensemble": "nve", "timestep_fs": 0.2, "interval": 10}
    frames, saved = tmp_path / "frames.xyz", tmp_path / "saved.restart"
    first = run_md(
        path,
        atoms,
        MDSettings(
            engine="lammps", steps=20, trajectory=frames, checkpoint=saved, ranks=2, **settings
        ),
    )
    again = run_md(
        path,
        atoms,
        MDSettings(engine="lammps", steps=20, trajectory=frames, restart=saved, **settings),
    )
    whole = run_md(path, atoms, MDSettings(engine="lammps", steps=40, **settings))
    assert again.potential_ev[0] == pytest.approx(first.potential_ev[-1], abs=1e-6)
    assert np.abs(again.final.positions - whole.final.positions).max() < 1e-6
    written = ase.io.read(frames, ":")
    assert len(written) == 5
    assert (written[0].numbers == atoms.numbers).all()


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_thermostat_and_barostat(ensemble, path, tmp_path) -> None:
    atoms = grid((3, 3, 3), 2.4)
    result = run_md(
        path,
        atoms,
        MDSettings(
            engine="lammps",
            ensemble=ensemble,
            temperature_K=300.0,
            friction_per_ps=50.0,
            timestep_fs=0.1,
            steps=50,
            interval=25,
            minimize=True,
            trajectory=tmp_path / "frames.dcd",
        ),
    )
    assert (tmp_path / "frames.dcd").stat().st_size > 3 * 27 * 12
    assert np.isfinite(result.total_ev).all()
    changed = not np.allclose(result.final.cell.array, atoms.cell.array, rtol=1e-9)
    assert changed == (ensemble == "npt")
    assert result.nve_drift_mev_per_atom_per_ps is None


def test_the_example_runs(path, tmp_path) -> None:
    folder = Path(__file__).parents[3] / "examples" / "lammps"
    lines = (folder / "in.ethanol").read_text().replace("model.pt", str(path)).splitlines()
    lines = [line.replace("ethanol.data", str(folder / "ethanol.data")) for line in lines]
    lines = [line for line in lines if not line.startswith("minimize")]
    shorter = [re.sub(r"^(run|thermo) .*", r"\1 5", line) for line in lines]
    shorter = [re.sub(r"extxyz 100", "extxyz 5", line) for line in shorter]
    run_process(shorter, tmp_path)
    frames = ase.io.read(tmp_path / "ethanol.xyz", ":")
    assert [len(frame) for frame in frames] == [72, 72]
    assert frames[0].symbols.get_chemical_formula() == "C16H48O8"


def test_what_cannot_be(path, tmp_path) -> None:
    with pytest.raises(ValueError, match="an open structure has no pressure"):
        run_md(path, molecule(), MDSettings(engine="lammps", ensemble="npt"))
    with pytest.raises(ValueError, match="Input should be 'nve', 'nvt' or 'npt'"):
        run_md(path, molecule(), MDSettings(engine="lammps", ensemble="nvk"))
    with pytest.raises(ValueError, match="unknown trajectory"):
        run_md(path, molecule(), MDSettings(engine="lammps", trajectory=tmp_path / "frames.doc"))
    (tmp_path / "frames.xyz").touch()
    with pytest.raises(FileExistsError, match="is there already"):
        run_md(path, molecule(), MDSettings(engine="lammps", trajectory=tmp_path / "frames.xyz"))
    with pytest.raises(FileNotFoundError, match="no restart file"):
        run_md(path, molecule(), MDSettings(engine="lammps", restart=tmp_path / "none"))
    with pytest.raises(ValueError, match="leave minimize out"):
        run_md(
            path, molecule(), MDSettings(engine="lammps", restart=tmp_path / "none", minimize=True)
        )
    with pytest.raises(ValueError, match="LAMMPS reads the file of a model: give its path"):
        run_md(load(path), molecule(), MDSettings(engine="lammps", steps=1))
    with pytest.raises(ValueError, match="does not know Ar"):
        run_md(path, ase.Atoms("Ar"), MDSettings(engine="lammps", steps=1))
