import ase.build
import ase.io
import numpy as np
import pytest
from ase import units
from ase.data import vdw_radii
from ase.optimize import BFGS
from rdkit import Chem

from idle_md.bonds import is_sound
from idle_md.data import Store, from_atoms
from idle_md.label.calculator import LevelCalculator
from idle_md.label.descriptor import Seen, sorted_distances
from idle_md.label.levels import find_level
from idle_md.label.programs.base import LabelError
from idle_md.label.sampling import Molecule, SampleConfig, from_file, from_smiles, sample
from idle_md.label.sampling.conformers import embed, with_hydrogens
from idle_md.label.sampling.dimers import FARTHEST, NEAREST, dimers
from idle_md.label.sampling.normal_modes import thermal_modes
from idle_md.label.sampling.recipe import GRID, sample_molecule
from idle_md.label.sampling.torsions import torsion_scans, torsions_of


@pytest.fixture(scope="module")
def ethanol() -> Store:
    molecule = from_smiles(["CCO ethanol"])[0]
    return sample_molecule(molecule, molecule, SampleConfig(frames=30, dimers=4, test=3))


def test_as_many_as_asked_for_and_where_they_come_from(ethanol) -> None:
    monomers = ethanol.select(ethanol.group == "ethanol")
    assert (monomers.n_geometries, ethanol.n_geometries) == (30, 34)
    names, counts = np.unique(ethanol.info["sampling"], return_counts=True)
    found = dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert found == {"start": 1, "md": 14, "modes": 12, "torsions": 3, "dimers": 4}
    assert set(ethanol.group) == {"ethanol", "ethanol+ethanol"}
    assert set(ethanol.info["smiles"]) == {"CCO", "CCO.CCO"}
    assert set(monomers.info["temperature_K"][monomers.info["sampling"] == "md"]) == {
        300,
        600,
        1000,
    }
    assert (monomers.role == "test").sum() == 3
    assert (ethanol.info["seed"] == 0).all()


def test_geometries_are_sound_and_different(ethanol) -> None:
    seen = Seen(0.02)
    for index in range(ethanol.n_geometries):
        atoms = ethanol.atoms(index)
        assert is_sound(atoms, 2 if ethanol.info["sampling"][index] == "dimers" else 1)
        assert seen.is_new(atoms.numbers, atoms.positions)


def test_positions_lie_on_the_grid(ethanol) -> None:
    steps = ethanol.positions / GRID
    assert np.array_equal(steps, np.round(steps))


def test_same_seed_same_geometries(ethanol) -> None:
    molecule = from_smiles(["CCO ethanol"])[0]
    config = SampleConfig(frames=30, dimers=4, test=3)
    again = sample_molecule(molecule, molecule, config)
    np.testing.assert_allclose(again.positions, ethanol.positions, atol=1e-8)
    other = sample_molecule(molecule, molecule, config.model_copy(update={"seed": 1}))
    assert not np.allclose(other.positions, ethanol.positions)


def test_modes_of_water_are_thermal() -> None:
    """Half kT of potential energy in every vibration, by the level's own energies."""
    calculator = LevelCalculator(find_level("gfn2"))
    atoms = ase.build.molecule("H2O")
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=1e-4)
    lowest = atoms.get_potential_energy()
    modes = thermal_modes(atoms, calculator)
    assert len(modes) == 3
    for mode in modes:
        width = np.sqrt(units.kB * 100.0)
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions += sign * width * mode
            moved.calc = calculator
            energies.append(moved.get_potential_energy() - lowest)
        assert np.mean(energies) == pytest.approx(0.5 * units.kB * 100.0, rel=0.03)
        assert np.abs(atoms.get_masses() @ mode).max() < 1e-8  # no translation


def test_linear_molecules_have_one_rotation_less() -> None:
    calculator = LevelCalculator(find_level("gfn2"))
    assert len(thermal_modes(ase.build.molecule("CO2"), calculator)) == 4


@pytest.mark.parametrize(
    ("smiles", "number"), [("CCO", 2), ("CCCC", 3), ("C=C", 0), ("c1ccccc1", 0), ("CC#C", 0)]
)
def test_torsions(smiles, number) -> None:
    graph = with_hydrogens(smiles)
    assert len(torsions_of(graph)) == number


def test_torsion_scan_turns_the_dihedral_alone() -> None:
    graph = with_hydrogens("CCCC")
    starts = embed(graph, 1, 0)
    rng = np.random.default_rng(0)
    stream = torsion_scans(graph, starts, rng)
    torsion = torsions_of(graph)[0]
    angles = [next(stream).get_dihedral(*torsion) for _ in range(24)]
    expected = 15.0 * np.arange(24)
    assert np.abs((np.array(angles) - expected + 180) % 360 - 180).max() < 15.0


def test_dimers_touch_as_they_should() -> None:
    water, methane = ase.build.molecule("H2O"), ase.build.molecule("CH4")
    stream = dimers([water], [methane], np.random.default_rng(0))
    for _ in range(30):
        pair = next(stream)
        one, other = pair[:3], pair[3:]
        radii = vdw_radii[one.numbers][:, None] + vdw_radii[other.numbers]
        apart = np.linalg.norm(one.positions[:, None] - other.positions, axis=2) / radii
        assert NEAREST - 1e-6 <= apart.min() <= FARTHEST + 1e-6


def test_calculator_refuses_levels_without_forces() -> None:
    atoms = ase.build.molecule("H2")
    atoms.calc = LevelCalculator(find_level("ccsd(t)/cc-pvdz"))
    with pytest.raises(ValueError, match="has no forces"):
        atoms.get_potential_energy()
    radical = ase.build.molecule("OH")
    radical.calc = LevelCalculator(find_level("gfn2"))
    with pytest.raises(LabelError, match="odd number"):
        radical.get_potential_energy()


def test_inputs(tmp_path) -> None:
    listed = tmp_path / "list.smi"
    listed.write_text("# comment\nCCO ethanol\n[NH4+] ammonium\n\n")
    molecules = from_smiles(["C", str(listed)])
    assert [(m.name, m.charge) for m in molecules] == [("C", 0), ("ethanol", 0), ("ammonium", 1)]
    water = ase.build.molecule("H2O")
    ase.io.write(tmp_path / "w.xyz", [water, water])
    ase.io.write(tmp_path / "w.pdb", water)
    assert [m.name for m in from_file(tmp_path / "w.xyz")] == ["w-0", "w-1"]
    from_pdb = from_file(tmp_path / "w.pdb")[0].starts[0]
    np.testing.assert_allclose(from_pdb.positions, water.positions, atol=1e-3)
    graph = with_hydrogens("CC=O")
    embed(graph, 1, 0)
    with Chem.SDWriter(str(tmp_path / "a.sdf")) as writer:
        writer.write(graph)
    from_sdf = from_file(tmp_path / "a.sdf")[0]
    assert (from_sdf.smiles, len(from_sdf.starts[0])) == ("CC=O", 7)
    from_atoms([water, water], ["x", "y"]).write(tmp_path / "s.h5")
    assert [m.name for m in from_file(tmp_path / "s.h5")] == ["x", "y"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["C(C"], "'C\\(C' is no SMILES"),
        (["CC a", "CO a"], "two molecules are called 'a'"),
    ],
)
def test_bad_smiles(texts, message) -> None:
    with pytest.raises(ValueError, match=message):
        from_smiles(texts)


def test_bad_files(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        from_file(tmp_path / "none.xyz")
    (tmp_path / "bad.xyz").write_text("what\nis this\n")
    with pytest.raises(ValueError, match=r"bad\.xyz cannot be read"):
        from_file(tmp_path / "bad.xyz")
    with pytest.raises(ValueError, match="nothing to sample"):
        sample([], SampleConfig(), tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mix": {"mf": 1}}, "'mf' is unknown; give one of md, modes, torsions, stretches"),
        ({"mix": {"md": 0}}, "a share above 0"),
        ({"frames": 5, "test": 5}, "less than frames"),
    ],
)
def test_bad_settings(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        SampleConfig(**settings)


def test_too_strict_a_tolerance_is_an_error() -> None:
    molecule = Molecule("h2", starts=[ase.build.molecule("H2")])
    with pytest.raises(ValueError, match="lower frames, tolerance or the temperatures"):
        sample_molecule(molecule, molecule, SampleConfig(frames=9, mix={"modes": 1}, tolerance=0.5))


def test_many_molecules_side_by_side_and_again(tmp_path, scheduler) -> None:
    molecules = [*from_smiles(["C methane", "O water"]), Molecule("bad", "[Th]")]
    config, out = SampleConfig(frames=5, mix={"modes": 1}), tmp_path / "g.h5"
    store, failures = sample(molecules, config, out, scheduler=scheduler)
    assert list(failures) == ["bad"]
    assert (store.n_geometries, set(store.group)) == (10, {"methane", "water"})
    parts = out.with_name("g.h5.parts")
    assert len(list(parts.iterdir())) == 2  # kept, because one is missing
    again, failures = sample(molecules[:2], config, out, scheduler=scheduler)
    assert not failures
    assert not parts.exists()
    whole = Store.read(out)
    for index in range(10):
        mine = sorted_distances(whole.atoms(index).numbers, whole.atoms(index).positions)
        other = sorted_distances(again.atoms(index).numbers, again.atoms(index).positions)
        np.testing.assert_array_equal(mine, other)
