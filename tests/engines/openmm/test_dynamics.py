import ase.build
import ase.io
import ase.units
import numpy as np
import openmm
import pytest

from idle_md.bonds import find_bonds
from idle_md.deploy import load
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.guard import UnstableError
from idle_md.engines.openmm.system import make_system, repartition_mass, standard_form
from idle_md.testing import CELL, Subject, random_structure


@pytest.fixture(scope="module")
def model(model_file):
    return load(model_file())


@pytest.fixture(scope="module")
def crystal() -> ase.Atoms:
    """Atoms that a random potential cannot drive apart."""
    numbers, positions = random_structure(Subject(None, [1, 6, 7, 8], 4.0), 8)
    return ase.Atoms(numbers, positions, cell=CELL, pbc=True)


def nve(model, crystal, timestep_fs: float):
    return run_md(
        model,
        crystal,
        MDSettings(
            ensemble="nve",
            temperature_K=200.0,
            timestep_fs=timestep_fs,
            steps=round(300 / timestep_fs),
            interval=round(2 / timestep_fs),
            minimize=True,
            max_stretch=0,
            platform="Reference",
        ),
    )


def test_nve_conserves_energy_to_second_order_in_the_timestep(model, crystal) -> None:
    coarse, fine = nve(model, crystal, 1.0), nve(model, crystal, 0.5)
    assert coarse.kinetic_ev.std() > 1e-2
    assert coarse.total_ev.std() < 0.02 * coarse.kinetic_ev.std()
    assert fine.total_ev.std() < 0.35 * coarse.total_ev.std()
    assert abs(fine.nve_drift_mev_per_atom_per_ps) < 0.1


def test_reports_are_those_of_the_run(model, crystal) -> None:
    result = nve(model, crystal, 0.5)
    assert (result.settings.steps, result.settings.platform) == (600, "Reference")
    np.testing.assert_allclose(result.times_ps, 2e-3 * np.arange(151), atol=1e-9)
    final = result.final
    energy, _ = model.evaluate(final.numbers, final.positions, final.cell.array, True)
    assert result.potential_ev[-1] == pytest.approx(energy, abs=1e-8)
    start = 1.5 * len(crystal) * ase.units.kB * 200.0
    assert 0.3 * start < result.kinetic_ev[0] < 2.0 * start
    assert result.ns_per_day > 0.1


def test_centre_of_mass_rests(model, crystal) -> None:
    start = standard_form(crystal)
    result = run_md(
        model, start, MDSettings(ensemble="nve", steps=200, max_stretch=0, platform="Reference")
    )
    before, after = start.get_center_of_mass(), result.final.get_center_of_mass()
    assert np.abs(result.final.positions - start.positions).max() > 0.05
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_seed_decides_the_run(model, crystal) -> None:
    runs = [
        run_md(model, crystal, MDSettings(steps=20, interval=20, platform="Reference", seed=seed))
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(runs[0].final.positions, runs[1].final.positions)
    assert np.abs(runs[0].final.positions - runs[2].final.positions).max() > 1e-3
    assert runs[0].nve_drift_mev_per_atom_per_ps is None


def test_thermostat_holds_the_temperature(model, crystal) -> None:
    result = run_md(
        model,
        crystal,
        MDSettings(
            temperature_K=250.0, steps=4000, interval=10, friction_per_ps=50.0, max_stretch=0
        ),
    )
    temperature = result.kinetic_ev[50:].mean() / (1.5 * len(crystal) * ase.units.kB)
    assert temperature == pytest.approx(250.0, rel=0.1)


def test_npt_changes_the_cell(model, crystal) -> None:
    result = run_md(
        model,
        crystal,
        MDSettings(ensemble="npt", steps=300, interval=100, temperature_K=50.0, max_stretch=0),
    )
    assert np.abs(result.final.cell.array - CELL).max() > 1e-4
    energy, _ = model.evaluate(
        crystal.numbers, result.final.positions, result.final.cell.array, True
    )
    assert result.potential_ev[-1] == pytest.approx(energy, abs=1e-7)


def turned(crystal: ase.Atoms, seed: int) -> ase.Atoms:
    """The same crystal with other lattice vectors, turned somehow; a mirror image for odd seeds."""
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    choice = [[1, 0, 0], [2, 1, 0], [-1, 1, 1]] if seed % 2 else [[0, 1, 0], [1, 0, 0], [0, 1, 1]]
    cell = np.array(choice) @ crystal.cell.array
    return ase.Atoms(crystal.numbers, crystal.positions @ rotation, cell=cell @ rotation, pbc=True)


@pytest.mark.parametrize("seed", range(6))
def test_any_cell_is_turned_into_what_openmm_takes(model, crystal, seed) -> None:
    given = turned(crystal, seed)
    found = standard_form(given)
    cell = found.cell.array
    assert np.array_equal(cell, np.tril(cell))
    assert (np.diag(cell) > 0).all()
    assert (np.abs(cell[[1, 2, 2], [0, 0, 1]]) <= 0.5 * cell[[0, 0, 1], [0, 0, 1]] + 1e-12).all()
    energy, forces = model.evaluate(given.numbers, given.positions, given.cell.array, True)
    energy_found, forces_found = model.evaluate(found.numbers, found.positions, cell, True)
    assert energy_found == pytest.approx(energy, abs=1e-9)
    turn = np.linalg.lstsq(forces, forces_found, rcond=None)[0]
    np.testing.assert_allclose(forces @ turn, forces_found, atol=1e-8)
    assert np.linalg.det(turn) == pytest.approx(1.0)  # no mirror image


def test_progress_is_told(model, crystal) -> None:
    told: list[tuple[int, float]] = []
    run_md(
        model, crystal, MDSettings(steps=25, interval=10), progress=lambda *now: told.append(now)
    )
    assert [done for done, _ in told] == [10, 20, 25]
    assert all(speed > 0 for _, speed in told)


def test_exploding_run_says_when_and_what_to_do(model, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    close = ase.Atoms("CH", [[0, 0, 0], [0.3, 0, 0]])
    match = r"unstable between steps \d+ and \d+ .*shorter timestep"
    with (
        pytest.warns(UserWarning, match=r"very close \(0 and 1, 0\.3 angstrom\)"),
        pytest.raises(ValueError, match=match) as stop,
    ):
        run_md(model, close, MDSettings(timestep_fs=1e9, steps=500, temperature_K=5000.0))
    assert isinstance(stop.value, UnstableError)
    assert stop.value.atoms
    assert f"atom {stop.value.atoms[0]}" in str(stop.value)
    assert str(stop.value.frame) in str(stop.value)
    frame = ase.io.read(stop.value.frame)
    assert frame.info["step"] == 0
    np.testing.assert_allclose(frame.positions, close.positions, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ensemble": "nvp"}, "ensemble\n *Input should be 'nve', 'nvt' or 'npt'"),
        ({"platform": "CUDAA"}, "unknown OpenMM platform 'CUDAA': there are Reference"),
        ({"trajectory": "run.trr"}, r"cannot write run\.trr: a trajectory ends in \.xyz"),
    ],
)
def test_bad_settings_are_errors(model, crystal, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        run_md(model, crystal, MDSettings(steps=1, **change))


def test_npt_needs_a_cell(model) -> None:
    with pytest.raises(ValueError, match="'npt' needs a periodic structure"):
        run_md(model, ase.build.molecule("CH4"), MDSettings(ensemble="npt", steps=1))


def test_slab_is_refused(model, crystal) -> None:
    slab = crystal.copy()
    slab.pbc = (True, True, False)
    with pytest.raises(ValueError, match=r"periodic along \[True, True, False\]"):
        run_md(model, slab, MDSettings(steps=1))


def test_unknown_element_is_named_before_anything_runs(model) -> None:
    with pytest.raises(ValueError, match=r"does not know Cl \(atom 1\)"):
        run_md(model, ase.build.molecule("CH3Cl"), MDSettings(steps=1))


def test_start_is_checked(model) -> None:
    twice = ase.build.molecule("CH4") + ase.build.molecule("CH4")
    with pytest.raises(ValueError, match=r"atoms overlap \(0 and 5, 0 angstrom"):
        run_md(model, twice, MDSettings(steps=1))
    charged = ase.build.molecule("CH4")
    charged.info["charge"] = -1
    with pytest.warns(UserWarning, match="charge of -1 e"):
        run_md(model, charged, MDSettings(steps=1, timestep_fs=0.01))


def test_broken_bond_stops_a_run_where_it_is_watched(model, tmp_path) -> None:
    methane = ase.build.molecule("CH4")
    settings = {"steps": 200, "interval": 5, "temperature_K": 1e5, "seed": 3}
    with pytest.raises(UnstableError, match=r"bond of atoms \d and \d is .* angstrom long") as stop:
        run_md(
            model, methane, MDSettings(max_stretch=2.0, trajectory=tmp_path / "run.xyz", **settings)
        )
    assert stop.value.frame == tmp_path / "run.last_good.xyz"
    last, written = ase.io.read(stop.value.frame), ase.io.read(tmp_path / "run.part.xyz", ":")
    np.testing.assert_allclose(last.positions, written[-1].positions, atol=1e-7)
    assert last.info["step"] == stop.value.step - 5


def test_heavier_hydrogens_are_slower_and_change_no_potential(model) -> None:
    methane = ase.build.molecule("CH4")
    settings = {"ensemble": "nve", "steps": 1, "timestep_fs": 0.01, "seed": 1}
    light = run_md(model, methane, MDSettings(**settings))
    heavy = run_md(model, methane, MDSettings(hydrogen_mass=3.0, **settings))
    moved = [np.linalg.norm(r.final.positions - methane.positions, axis=1) for r in (light, heavy)]
    assert heavy.potential_ev[0] == light.potential_ev[0]
    assert moved[1][1:].mean() < 0.8 * moved[0][1:].mean()
    with pytest.raises(ValueError, match=r"hydrogen_mass 6 amu leaves atom 0 with"):
        run_md(model, methane, MDSettings(hydrogen_mass=6.0, **settings))


def test_mass_is_moved_and_kept() -> None:
    ethanol = ase.build.molecule("CH3CH2OH")
    system = make_system(ethanol, openmm.CustomExternalForce("0"))
    repartition_mass(system, ethanol.numbers, find_bonds(ethanol), 3.0)
    masses = np.array([system.getParticleMass(k)._value for k in range(9)])
    assert masses.sum() == pytest.approx(ethanol.get_masses().sum())
    assert masses[ethanol.numbers == 1] == pytest.approx(3.0)
    carbons_and_oxygen = ethanol.get_masses()[:3] - np.array([3, 2, 1]) * (3.0 - 1.008)
    assert masses[:3] == pytest.approx(carbons_and_oxygen)
