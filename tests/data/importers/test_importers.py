"""Published formats: the same numbers come out whatever layout and units they went through."""

import csv
import gzip
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import ase.db
import ase.io
import h5py
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from idle_md.cli.data import app
from idle_md.data import Labels, Store, import_data, load
from idle_md.data.importers.checks import pairs
from idle_md.units import HARTREE, KCAL_PER_MOL, KJ_PER_MOL, NM

BOHR = ase.units.Bohr
ENERGY = {
    "eV": 1.0,
    "hartree": HARTREE,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
    "meV": 1e-3,
}
LENGTH = {"angstrom": 1.0, "bohr": BOHR, "nm": NM}
MOLECULES = ("methanol", "acetonitrile", "formamide")


@pytest.fixture(scope="module")
def whole() -> Store:
    """Real wB97X energies and forces of three molecules, as one level."""
    store = load("chno-mini", ["wb97x"])
    wanted = store.has_forces("wb97x") & np.isin(store.group, MOLECULES)
    store = store.select(np.flatnonzero(wanted))
    return replace(store, labels={"pbe": store.labels["wb97x"]}, info={})


@pytest.fixture(scope="module")
def methanol(whole) -> Store:
    return whole.select(whole.group == "methanol")


def shaped(store: Store) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Numbers (A,), positions (N, A, 3), energies (N,) and forces (N, A, 3) of one molecule."""
    shape = (store.n_geometries, -1, 3)
    labels = store.labels["pbe"]
    return (
        store.numbers[: store.n_atoms[0]],
        store.positions.reshape(shape).copy(),
        labels.energy,
        labels.forces.astype(np.float64).reshape(shape),
    )


def molecules(store: Store) -> dict[str, Store]:
    return {name: store.select(store.group == name) for name in MOLECULES}


def write_ani(store: Store, path: Path, drop: str = "") -> Path:
    path = path / "ani1x.h5"
    with h5py.File(path, "w") as file:
        for name, each in molecules(store).items():
            numbers, positions, energies, forces = shaped(each)
            arrays = {
                "atomic_numbers": numbers.astype(np.uint8),
                "coordinates": positions,
                "wb97x_dz.energy": energies / HARTREE,
                "wb97x_dz.forces": forces / HARTREE,
                "ccsd(t)_cbs.energy": np.full(len(energies), np.nan),
                "mp2_dz.corr_energy": np.zeros(len(energies)),
                "wb97x_dz.dipole": np.zeros((len(energies), 3)),
            }
            arrays["ccsd(t)_cbs.energy"][:2] = energies[:2] / HARTREE - 0.1
            for key, array in arrays.items():
                if key != drop:
                    file.create_dataset(f"{name}/{key}", data=array)
    return path


def write_spice(store: Store, path: Path, drop: str = "") -> Path:
    path = path / "spice.hdf5"
    with h5py.File(path, "w") as file:
        for name, each in molecules(store).items():
            numbers, positions, energies, forces = shaped(each)
            group = file.create_group(name)
            arrays = {
                "atomic_numbers": numbers.astype(np.int16),
                "conformations": positions / BOHR,
                "dft_total_energy": energies / HARTREE,
                "dft_total_gradient": -forces / HARTREE * BOHR,
                "formation_energy": np.zeros(len(energies)),
            }
            for key, array in arrays.items():
                if key != drop:
                    group.create_dataset(key, data=array)
            group.create_dataset(
                "smiles", data=["[O-:1][CH2:2][NH3+:3]"], dtype=h5py.string_dtype()
            )
            group.create_dataset("subset", data=["Small"], dtype=h5py.string_dtype())
        empty = file.create_group("54X VAL")
        empty["smiles"], empty["atomic_numbers"] = ["O"], [8, 1, 1]
        for key in ("conformations", "dft_total_energy", "dft_total_gradient"):
            empty[key] = np.empty(0)
    return path


def write_npz(store: Store, path: Path, kind: str, **more: object) -> Path:
    path = path / f"{kind}.npz"
    numbers, positions, energies, forces = shaped(store)
    unit = KCAL_PER_MOL
    if kind == "rmd17":
        arrays = {
            "nuclear_charges": numbers.astype(np.uint8),
            "coords": positions,
            "energies": energies / unit,
            "forces": forces / unit,
            "old_energies": energies / unit - 1,
        }
    else:
        arrays = {"z": numbers, "R": positions, "E": energies[:, None] / unit, "F": forces / unit}
        arrays |= {"name": np.array(b"methanol"), "theory": np.array("PBE/def2-SVP")}
    arrays |= more
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def write_physnet(store: Store, path: Path) -> Path:
    path = path / "physnet.npz"
    widest = store.n_atoms.max()
    own = np.arange(widest) < store.n_atoms[:, None]
    arrays = {
        "N": store.n_atoms,
        "Z": np.zeros((store.n_geometries, widest), dtype=np.int64),
        "R": np.zeros((store.n_geometries, widest, 3)),
        "F": np.zeros((store.n_geometries, widest, 3)),
        "E": store.labels["pbe"].energy,
        "Q": np.zeros(store.n_geometries),
        "D": np.zeros((store.n_geometries, 3)),
    }
    arrays["Z"][own] = store.numbers
    arrays["R"][own] = store.positions
    arrays["F"][own] = store.labels["pbe"].forces
    np.savez(path, **arrays)
    return path


class Harmful:
    """A pickle of this writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.path, "harm"))


def write_openqdc(store: Store, path: Path) -> Path:
    path = path / "openqdc"
    path.mkdir()
    ranges = np.stack([store.offsets[:-1], store.offsets[1:]], axis=1)
    energy = store.labels["pbe"].energy / HARTREE
    inputs = np.column_stack([store.numbers, np.zeros(len(store.numbers)), store.positions])
    inputs.astype(np.float32).tofile(path / "atomic_inputs.mmap")
    ranges.astype(np.int32).tofile(path / "position_idx_range.mmap")
    np.column_stack([energy - 1, energy]).tofile(path / "energies.mmap")
    (store.labels["pbe"].forces / np.float32(HARTREE)).tofile(path / "forces.mmap")
    (path / "props.pkl").write_bytes(pickle.dumps({"name": Harmful(path / "harm")}))
    return path


def images(store: Store) -> list[ase.Atoms]:
    """ASE objects with the labels in a calculator."""
    labels = store.labels["pbe"]
    result = []
    for index in range(store.n_geometries):
        atoms = store.atoms(index)
        forces = labels.forces[store.offsets[index] : store.offsets[index + 1]]
        atoms.calc = SinglePointCalculator(
            atoms, energy=labels.energy[index], forces=forces.astype(np.float64)
        )
        result.append(atoms)
    return result


def write_ase(store: Store, path: Path, ending: str = ".db") -> Path:
    path = path / f"set{ending}"
    with ase.db.connect(path) as database:
        for index, atoms in enumerate(images(store)):
            more = {} if index % 2 else {"high": float(store.labels["pbe"].energy[index]) - 1}
            name = str(store.group[index])
            database.write(
                atoms,
                molecule=name,
                step=index,
                data={"high_forces": np.ones((len(atoms), 3))},
                **more,
            )
    return path


def write_xyz(
    store: Store,
    path: Path,
    energy: float = 1.0,
    length: float = 1.0,
    forces: float | None = None,
    offset: float = 0.0,
) -> Path:
    """Keys REF_energy and REF_forces, in any unit; energies per atom shifted by an offset."""
    path = path / "set.extxyz"
    frames = []
    for index, atoms in enumerate(images(store)):
        calculator, atoms.calc = atoms.calc, None
        atoms.positions /= length
        atoms.info = {
            "REF_energy": (calculator.results["energy"] - offset * len(atoms)) / energy,
            "molecule": str(store.group[index]),
        }
        atoms.arrays["REF_forces"] = calculator.results["forces"] / (forces or energy / length)
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return path


KEYS = {"energy": {"REF_energy": "pbe"}, "forces": {"REF_forces": "pbe"}}
WAYS = {
    "extxyz": (write_xyz, KEYS),
    "ani": (
        write_ani,
        {"energy": {"wb97x_dz.energy": "pbe"}, "forces": {"wb97x_dz.forces": "pbe"}},
    ),
    "spice": (write_spice, {"fidelity": "pbe"}),
    "openqdc": (write_openqdc, {"energy": {"1": "pbe"}, "forces": {"0": "pbe"}}),
    "physnet": (write_physnet, {"fidelity": "pbe"}),
    "ase": (write_ase, {"fidelity": "pbe"}),
    "ase json": (lambda store, path: write_ase(store, path, ".json"), {"fidelity": "pbe"}),
}


def assert_same(found: Store, expected: Store, fidelity: str = "pbe") -> None:
    """Same numbers to what float32 and eight decimals keep."""
    order = np.argsort(expected.group, kind="stable")
    expected = expected.select(order)
    found = found.select(np.lexsort((np.arange(found.n_geometries), found.group)))
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_allclose(found.positions, expected.positions, atol=2e-6)
    mine, theirs = found.labels[fidelity], expected.labels["pbe"]
    np.testing.assert_allclose(mine.energy, theirs.energy, rtol=1e-9)
    np.testing.assert_allclose(mine.forces, theirs.forces, atol=1e-5)
    assert mine.forces.dtype == np.float32


@pytest.mark.parametrize("way", WAYS)
def test_every_format_gives_the_same_numbers(way, whole, tmp_path) -> None:
    write, options = WAYS[way]
    whole = whole.select(np.arange(0, whole.n_geometries, 3))
    store = import_data(write(whole, tmp_path), **options)
    if way in ("openqdc", "physnet"):  # molecules without names
        formula = {"methanol": "CH4O", "acetonitrile": "C2H3N", "formamide": "CH3NO"}
        whole = replace(whole, group=np.array([formula[name] for name in whole.group]))
    assert_same(store, whole)
    assert sorted(set(store.group)) == sorted(set(whole.group))


@pytest.mark.parametrize("kind", ["sgdml", "rmd17"])
def test_archives_of_one_molecule(kind, methanol, tmp_path) -> None:
    path = write_npz(methanol, tmp_path, kind)
    store = import_data(path, fidelity="pbe")
    assert_same(store, replace(methanol, group=store.group))
    if kind == "sgdml":
        named = import_data(path)
        assert named.fidelities == ["pbe_def2-svp"]
        assert named.manifest.levels["pbe_def2-svp"].method == "PBE/def2-SVP"
        assert set(named.group) == {"methanol"}
    else:
        assert set(store.group) == {"CH4O"}
        other = import_data(path, energy={"old_energies": "old"})
        shift = other.labels["old"].energy - store.labels["pbe"].energy
        np.testing.assert_allclose(shift, -KCAL_PER_MOL, rtol=1e-6)


def test_units_that_an_archive_states_are_used(methanol, tmp_path) -> None:
    numbers, positions, energies, forces = shaped(methanol)
    stated = {"e_unit": np.array("eV"), "r_unit": np.array(b"bohr")}
    arrays = {"E": energies, "F": forces * BOHR, "R": positions / BOHR, "z": numbers}
    path = write_npz(methanol, tmp_path, "sgdml", **stated, **arrays)
    assert_same(import_data(path, fidelity="pbe"), methanol)


def test_all_ani_levels_with_their_theory(whole, tmp_path) -> None:
    store = import_data(write_ani(whole, tmp_path))
    assert store.fidelities == ["ccsdt_cbs", "wb97x_dz"]
    titles = {name: level.title for name, level in store.manifest.levels.items()}
    assert titles == {"ccsdt_cbs": "CCSD(T)*/CBS", "wb97x_dz": "wB97X/6-31G*"}
    assert store.has_energy("ccsdt_cbs").sum() == 2 * len(MOLECULES)
    assert not store.has_forces("ccsdt_cbs").any()
    gap = store.labels["ccsdt_cbs"].energy - store.labels["wb97x_dz"].energy
    np.testing.assert_allclose(gap[np.isfinite(gap)], -0.1 * HARTREE, rtol=1e-6)


def test_ani_level_that_a_formula_lacks_is_missing_there(whole, tmp_path) -> None:
    path = write_ani(whole, tmp_path)
    with h5py.File(path, "a") as file:
        del file["acetonitrile/wb97x_dz.forces"]
    store = import_data(path)
    np.testing.assert_array_equal(store.has_forces("wb97x_dz"), store.group != "acetonitrile")


def test_spice_level_charge_and_empty_molecule(whole, tmp_path) -> None:
    path = write_spice(whole, tmp_path)
    with h5py.File(path, "a") as file:
        del file["acetonitrile/smiles"]
        file["acetonitrile/smiles"] = ["[Ca+2:1].[O-]C[NH3+]"]
        file["methanol/conformations"].attrs["units"] = "bohr"
    store = import_data(path)
    assert store.manifest.levels["wb97m_d3bj"].title == "wB97M-D3(BJ)/def2-TZVPPD"
    np.testing.assert_array_equal(store.charge, np.where(store.group == "acetonitrile", 2, 0))
    assert set(store.info["subset"]) == {"Small"}
    assert "54X VAL" not in store.group


def test_openqdc_runs_no_pickle(whole, tmp_path) -> None:
    path = write_openqdc(whole, tmp_path)
    import_data(path, energy={"1": "pbe"})
    assert not (path / "harm").exists()
    with pytest.raises(ValueError, match=r"2 levels of energies and 1 of forces.*--energy COLUMN="):
        import_data(path, fidelity="pbe")


def test_ase_keys_and_columns(whole, tmp_path) -> None:
    path = write_ase(whole, tmp_path)
    keys = {"energy": {"energy": "pbe", "high": "high"}, "forces": {"high_forces": "other"}}
    store = import_data(path, **keys, trust_units=True)
    assert store.fidelities == ["pbe", "high", "other"]
    np.testing.assert_array_equal(store.has_energy("high"), np.arange(store.n_geometries) % 2 == 0)
    np.testing.assert_array_equal(store.info["step"], np.arange(store.n_geometries))
    assert (store.labels["other"].forces == 1).all()


@pytest.mark.parametrize("length", LENGTH)
@pytest.mark.parametrize("energy", ENERGY)
def test_units_are_recognised(energy, length, methanol, tmp_path) -> None:
    """Total energies tell their unit; relative ones do with forces, if not kJ from kcal."""
    path = write_xyz(methanol, tmp_path, ENERGY[energy], LENGTH[length])
    given = {} if length == "angstrom" else {"length_unit": length}
    store = import_data(path, **KEYS, **given)
    assert_same(store, methanol)
    assert f"{energy}, {length}, {energy}/{length}" in store.manifest.description
    if length != "angstrom":
        with pytest.raises(ValueError, match=f"look like {length}, not angstrom.*--length-unit"):
            import_data(path, **KEYS)


@pytest.mark.parametrize("energy", ["eV", "hartree", "meV"])
def test_relative_energies_are_recognised_by_stiffness(energy, methanol, tmp_path) -> None:
    mean = methanol.labels["pbe"].energy.mean() / 6 + 4.0
    path = write_xyz(methanol, tmp_path, ENERGY[energy], offset=mean)
    store = import_data(path, **KEYS)
    np.testing.assert_allclose(
        store.labels["pbe"].energy, methanol.labels["pbe"].energy - 6 * mean, rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"not clear.* -.* per atom.*give --energy-unit"):
        import_data(path, energy=KEYS["energy"])


@pytest.mark.parametrize("energy", ENERGY)
def test_wrong_unit_of_total_energies_is_refused(energy, methanol, tmp_path) -> None:
    path = write_xyz(methanol, tmp_path, ENERGY[energy])
    for wrong in ENERGY.keys() - {energy}:
        with pytest.raises(
            ValueError, match=rf"not in {wrong}: pbe looks like total energies in {energy} "
        ):
            import_data(path, **KEYS, energy_unit=wrong)
    wrong = import_data(path, **KEYS, energy_unit="ev", trust_units=True)
    np.testing.assert_allclose(
        ENERGY[energy] * wrong.labels["pbe"].energy, methanol.labels["pbe"].energy, rtol=1e-9
    )


def test_wrong_unit_of_relative_energies_is_refused(methanol, tmp_path) -> None:
    mean = methanol.labels["pbe"].energy.mean() / 6 + 4.0
    path = write_xyz(methanol, tmp_path, offset=mean)
    message = r"pbe forces in kJ/mol/angstrom make force constants of 0\.\d+ eV/angstrom\^2"
    with pytest.raises(ValueError, match=message):
        import_data(path, **KEYS, energy_unit="kJ/mol")
    with pytest.raises(ValueError, match=r"force constants of .*; give another --energy-unit"):
        import_data(path, **KEYS, energy_unit="hartree")


def test_energies_below_all_electrons_are_refused(methanol, tmp_path) -> None:
    path = write_xyz(methanol, tmp_path, offset=-490.0)
    with pytest.raises(ValueError, match="not in hartree: all electrons together"):
        import_data(path, **KEYS, energy_unit="hartree")


def test_habit_of_a_format_needs_support_from_the_numbers(methanol, tmp_path) -> None:
    """Valence energies in eV where kcal/mol is usual, without forces: nothing decides."""
    energies = methanol.labels["pbe"].energy / 13
    path = write_npz(methanol, tmp_path, "sgdml", E=energies * 20, F=None)
    with pytest.raises(ValueError, match="the unit of the energies is not clear"):
        import_data(path, fidelity="gfn2")
    given = import_data(path, fidelity="gfn2", energy_unit="kcal/mol")
    np.testing.assert_allclose(given.labels["gfn2"].energy, 20 * energies * KCAL_PER_MOL)


def test_forces_in_other_units_than_energies_are_named(methanol, tmp_path) -> None:
    """Energies in eV with forces in hartree/bohr, as some programs mix them."""
    path = write_xyz(methanol, tmp_path, forces=HARTREE / BOHR)
    with pytest.raises(ValueError, match=r"pairs of close geom.*give --force-unit hartree/bohr"):
        import_data(path, **KEYS)
    assert_same(import_data(path, **KEYS, force_unit="Hartree/Bohr"), methanol)


def test_gradients_are_named(methanol, tmp_path) -> None:
    path = write_xyz(methanol, tmp_path, forces=-1.0)
    with pytest.raises(ValueError, match=r"differ by -\d\.\d* times .*; give --gradients, or take"):
        import_data(path, **KEYS)
    assert_same(import_data(path, **KEYS, gradients=True), methanol)
    with pytest.raises(ValueError, match="leave out --gradients"):
        import_data(write_xyz(methanol, tmp_path), **KEYS, gradients=True)


@pytest.mark.parametrize("level", ["gfn2", "wb97x"])
def test_pairs_of_close_geometries_agree_with_the_forces(level) -> None:
    """Slope 1, and the force constants that molecules have, also among many molecules."""
    every = load("chno-mini", [level])
    found = pairs(every, level)
    assert found.slope == pytest.approx(1, abs=0.05)
    assert 6 < found.stiffness < 100  # as an import wants it; the closest are of hydrogen cyanide
    store = every.select(every.info["sampling"] == "")  # without such stiff molecules
    found = pairs(store, level)
    assert found.slope == pytest.approx(1, abs=0.05)
    assert 10 < found.stiffness < 60
    copies = store.select(np.repeat(np.flatnonzero(store.has_forces(level))[:400], 2))
    assert pairs(copies, level).slope == pytest.approx(1, abs=0.15)


def test_geometries_far_apart_are_not_judged(tmp_path) -> None:
    """Seven geometries of a flexible molecule: the work of the forces says nothing."""
    store = load("chno-mini", ["wb97x"])
    few = store.select(store.has_forces("wb97x") & (store.group == "hexanol"))
    assert few.n_geometries == 7
    assert pairs(few, "wb97x") is None
    few = replace(few, labels={"pbe": few.labels["wb97x"]}, info={})
    assert_same(import_data(write_xyz(few, tmp_path, HARTREE), **KEYS), few)


def test_forces_of_other_atoms_are_refused(methanol, tmp_path) -> None:
    labels = methanol.labels["pbe"]
    shuffled = replace(
        methanol, labels={"pbe": Labels(labels.energy, np.roll(labels.forces, 1, axis=0))}
    )
    path = write_xyz(shuffled, tmp_path)
    with pytest.raises(ValueError, match=r"forces do not add up to zero.* of these atoms in this"):
        import_data(path, **KEYS)


@pytest.mark.parametrize("option", ["energy_unit", "length_unit", "force_unit"])
def test_unknown_unit_lists_the_known(option, methanol, tmp_path) -> None:
    unit = "eV/furlong" if option == "force_unit" else "furlong"
    with pytest.raises(ValueError, match=r"unknown unit 'furlong': .* one of (eV|angstrom), "):
        import_data(write_xyz(methanol, tmp_path), **KEYS, **{option: unit})


def test_table_is_matched_by_row_index_or_name(whole, tmp_path) -> None:
    geometries = tmp_path / "set.h5"
    whole.write(geometries)
    energies = whole.labels["pbe"].energy / HARTREE - 0.1

    def table(header: list[str], rows: list[list[object]]) -> Path:
        with open(tmp_path / "energies.csv", "w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return tmp_path / "energies.csv"

    options = {"fidelity": "high", "geometries": geometries}
    path = table(["energy"], [[value] for value in energies])
    store = import_data(path, **options)
    np.testing.assert_allclose(store.labels["high"].energy, energies * HARTREE, rtol=1e-12)
    assert store.fidelities == ["pbe", "high"]
    np.testing.assert_array_equal(store.labels["pbe"].forces, whole.labels["pbe"].forces)
    assert not store.has_forces("high").any()

    path = table(["index", "cc"], [[5, energies[5]], [2, energies[2]], [3, ""], [4, "nan"]])
    store = import_data(path, geometries=geometries, energy={"cc": "high"})
    assert np.flatnonzero(store.has_energy("high")).tolist() == [2, 5]
    assert store.labels["high"].energy[5] == pytest.approx(energies[5] * HARTREE, rel=1e-12)

    named = replace(whole, info={"name": np.array([f"g{i}" for i in range(whole.n_geometries)])})
    named.write(geometries)
    path = table(["name", "energy"], [["g7", energies[7]], ["g1", energies[1]]])
    assert np.flatnonzero(import_data(path, **options).has_energy("high")).tolist() == [1, 7]

    for header, rows, message in [
        (["energy"], [[1.0]], "1 rows for .* geometries; add a column index"),
        (["index", "energy"], [[9999, 1.0]], "row 1: index is 9999, the geometries are 0 to"),
        (["index", "energy"], [[1, 1.0], [1, 2.0]], "several rows are of geometry 1"),
        (["index", "energy"], [[1, "x"]], "row 1: energy is 'x', not a number"),
        (["index", "energy"], [[1]], "row 1: 1 cells where the header has 2"),
        (["name", "energy"], [["g0", 1.0], ["none", 2.0]], "row 2: no geometry named 'none'"),
        (["index", "E"], [[1, 1.0]], "missing key 'energy': the keys found are index, E"),
        (["index", "energy"], [[1, "inf"]], "high energy of geometry 1 is infinite"),
    ]:
        with pytest.raises(ValueError, match=rf"energies\.csv.*{message}"):
            import_data(table(header, rows), **options)
    with pytest.raises(ValueError, match=r"energies\.csv: a table has no geometries.*--geometries"):
        import_data(path, fidelity="high")
    with pytest.raises(ValueError, match="has 'pbe' labels; choose another --fidelity"):
        import_data(path, fidelity="pbe", geometries=geometries)
    whole.write(geometries)
    with pytest.raises(ValueError, match=r"geometries named 'methanol'; match rows with a column"):
        import_data(table(["name", "energy"], [["methanol", 1.0]]), **options)


def test_table_for_bare_xyz(methanol, tmp_path) -> None:
    frames = [methanol.atoms(index) for index in range(methanol.n_geometries)]
    ase.io.write(tmp_path / "bare.xyz", frames, format="extxyz")
    energies = methanol.labels["pbe"].energy
    (tmp_path / "e.csv").write_text("energy\n" + "\n".join(map(str, energies)) + "\n")
    store = import_data(tmp_path / "e.csv", fidelity="pbe", geometries=tmp_path / "bare.xyz")
    np.testing.assert_allclose(store.labels["pbe"].energy, energies, rtol=1e-12)


def test_missing_labels_of_xyz(methanol, tmp_path) -> None:
    path = write_xyz(methanol, tmp_path)
    text = path.read_text().splitlines()
    text[1] = " ".join("REF_energy=nan" if "REF_energy" in w else w for w in text[1].split())
    path.write_text("\n".join(text) + "\n")
    store = import_data(path, **KEYS)
    assert np.flatnonzero(~store.has_energy("pbe")).tolist() == [0]
    assert store.has_forces("pbe").all()
    path.write_text(path.read_text().replace("REF_energy=nan", "REF_energy=much"))
    with pytest.raises(ValueError, match=r"frame 1 \(.*REF_energy is 'much', not a number; leave"):
        import_data(path, **KEYS)


@pytest.mark.parametrize("way", ["ani", "spice"])
def test_missing_keys_and_wrong_shapes_of_hdf5(way, whole, tmp_path) -> None:
    write = {"ani": write_ani, "spice": write_spice}[way]
    place = r"molecule (methanol|acetonitrile|formamide)"
    for key in ["atomic_numbers", {"ani": "coordinates", "spice": "conformations"}[way]]:
        path = write(whole, tmp_path, drop=key)
        with pytest.raises(ValueError, match=rf"{place}: missing key '{key}': the keys found are "):
            import_data(path, format=way)
    path = write(whole, tmp_path)
    key = {"ani": "wb97x_dz.energy", "spice": "dft_total_energy"}[way]
    with h5py.File(path, "a") as file:
        n_geometries = len(file["acetonitrile"][key])
        del file["acetonitrile"][key]
        file["acetonitrile"][key] = np.zeros((n_geometries, 2))
    with pytest.raises(ValueError, match=rf"{place}: {key} has shape \(\d+, 2\), it must be \("):
        import_data(path)
    with h5py.File(path, "a") as file:
        del file["acetonitrile"][key]
        file["acetonitrile"][key] = ["a"] * n_geometries
    with pytest.raises(ValueError, match=rf"{place}: {key} holds object values, not numbers"):
        import_data(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"not a whole HDF5 file .* truncated: copy it again"):
        import_data(path)


def test_damaged_archives(methanol, tmp_path) -> None:
    marker = tmp_path / "harm"
    harmful = np.array([Harmful(marker)], dtype=object)
    for changes, message in [
        ({"F": None, "E": None}, "missing key 'E': the keys found are z, R, name, theory"),
        ({"E": harmful}, "E holds object values, not numbers"),
        ({"R": None}, "no layout that is known: the keys found are z, E, F, name, theory"),
        ({"F": np.zeros((2, 6, 3))}, r"F has shape \(2, 6, 3\), it must be \(\d+, 6, 3\)"),
        ({"z": np.array(["C"] * 6)}, "z holds <U1 values, not numbers"),
        ({"z": np.zeros(6, int)}, "unknown atomic number 0"),
        ({"theory": None}, "the file does not say its level of theory; name it"),
        ({"theory": np.array("unknown")}, "the file does not say its level of theory; name it"),
        ({"lattice": np.eye(3)}, "periodic; lattices are read from extended XYZ"),
    ]:
        path = write_npz(methanol, tmp_path, "sgdml", **changes)
        with pytest.raises(ValueError, match=rf"sgdml\.npz: {message}"):
            import_data(path)
    assert not marker.exists()
    path = write_npz(methanol, tmp_path, "rmd17")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"rmd17\.npz: .*truncated"):
        import_data(path, fidelity="pbe")
    path.write_bytes(pickle.dumps(Harmful(marker)))
    with pytest.raises(ValueError, match=r"rmd17\.npz: no npz archive of plain arrays"):
        import_data(path, fidelity="pbe")
    assert not marker.exists()


def test_partial_forces_and_broken_positions(methanol, tmp_path) -> None:
    _, positions, _, forces = shaped(methanol)
    forces[3, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"sgdml\.npz: .* forces of geometry 3 are NaN for some"):
        import_data(write_npz(methanol, tmp_path, "sgdml", F=forces))
    positions[4, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"sgdml\.npz: a position of geometry 4 is no finite"):
        import_data(write_npz(methanol, tmp_path, "sgdml", R=positions))
    with pytest.raises(ValueError, match=r"sgdml\.npz: no geometries"):
        import_data(
            write_npz(
                methanol,
                tmp_path,
                "sgdml",
                R=np.empty((0, 6, 3)),
                E=np.empty(0),
                F=np.empty((0, 6, 3)),
            )
        )


def test_openqdc_files_that_do_not_fit(whole, tmp_path) -> None:
    path = write_openqdc(whole, tmp_path)
    options = {"energy": {"1": "pbe"}, "forces": {"0": "pbe"}}
    with pytest.raises(ValueError, match="missing key '7': the keys found are 0, 1"):
        import_data(path, energy={"7": "pbe"})
    for name, keep, message in [
        ("forces", -4, "not a multiple of .*cut short"),
        ("atomic_inputs", -20, "ranges do not cover the .* atoms of atomic_inputs.mmap"),
        ("energies", 0, r"energies\.mmap: 0 values"),
    ]:
        content = (path / f"{name}.mmap").read_bytes()
        (path / f"{name}.mmap").write_bytes(content[:keep])
        with pytest.raises(ValueError, match=message):
            import_data(path, **options)
        (path / f"{name}.mmap").write_bytes(content)
    (path / "energies.mmap").unlink()
    with pytest.raises(ValueError, match=r"openqdc: energies\.mmap is missing"):
        import_data(path, **options)


@pytest.mark.parametrize("ending", [".db", ".json"])
def test_damaged_ase_databases(ending, whole, tmp_path) -> None:
    path = write_ase(whole.select(np.arange(5)), tmp_path, ending)
    with pytest.raises(ValueError, match=r"missing key 'none': the keys found are high_forces, "):
        import_data(path, energy={"none": "pbe"})
    with pytest.raises(ValueError, match=r"row 1: high_forces has shape .*, it must be \(\)"):
        import_data(path, energy={"high_forces": "pbe"})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"not a whole ASE database .*truncated"):
        import_data(path, fidelity="pbe")


def test_requests_that_make_no_sense(methanol, tmp_path) -> None:
    path = write_xyz(methanol, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.npz: no such file"):
        import_data(tmp_path / "none.npz")
    (tmp_path / "set.txt").write_text("")
    for arguments, message in [
        (
            {"path": tmp_path / "set.txt"},
            r"set\.txt: unknown kind of file; say which with --format",
        ),
        ({"format": "cif"}, "unknown format 'cif'. There are auto, extxyz, ani"),
        ({"geometries": path, **KEYS}, "has geometries of its own"),
        ({"fidelity": "pbe", **KEYS}, "fidelity 'pbe' and keys of pbe: give --fidelity, or"),
        ({"fidelity": "p be"}, "fidelity 'p be': letters, digits, _ and -"),
        ({"energy": {"a": "x", "b": "x"}}, "a and b are both 'x': name them apart"),
        (
            {"fidelity": "pbe"},
            "missing key 'energy': the keys found are REF_energy, molecule, REF_forces;",
        ),
        ({"energy": {"E": "x"}}, r"missing key 'E': .*with --energy KEY=FIDELITY"),
    ]:
        with pytest.raises(ValueError, match=message):
            import_data(**{"path": path, **arguments})
    gzipped = tmp_path / "cut.extxyz.gz"
    gzipped.write_bytes(gzip.compress(path.read_bytes())[:-20])
    with pytest.raises(ValueError, match=r"cut\.extxyz\.gz.*truncated"):
        import_data(gzipped, **KEYS)


def test_command_imports_and_says_which_units(methanol, tmp_path) -> None:
    path = write_xyz(methanol, tmp_path, HARTREE)
    out = tmp_path / "out.h5"
    keys = ["--energy", "REF_energy=pbe", "--forces", "REF_forces=pbe"]
    result = CliRunner().invoke(app, ["import", str(path), "-o", str(out), *keys])
    assert result.exit_code == 0, result.output
    n_geometries = methanol.n_geometries
    assert f"pbe {n_geometries} E + {n_geometries} F" in result.output
    assert "Imported from set.extxyz: hartree, angstrom, hartree/angstrom" in result.output
    assert_same(load(out), methanol)
    result = CliRunner().invoke(app, ["import", str(path), "-o", str(out), "--energy", "REF"])
    assert "--energy REF: write KEY=FIDELITY" in str(result.exception)


def external(name: str) -> Path:
    folder = os.environ.get("IDLE_MD_EXTERNAL_DATA")
    path = Path(folder or "", name)
    if folder is None or not path.is_file():
        pytest.skip(f"IDLE_MD_EXTERNAL_DATA names no folder with {name}")
    return path


def test_published_ethanol_with_two_levels() -> None:
    """rMD17 PBE and GFN2-xTB; the total energies of one tell the unit of both."""
    energy = {"pbe_energy": "pbe", "gfn2_energy": "gfn2"}
    forces = {"pbe_forces": "pbe", "gfn2_forces": "gfn2"}
    path = external("ethanol_rmd17_pbe.extxyz.gz")
    store = import_data(path, energy=energy, forces=forces)
    assert store.n_geometries == store.has_forces("pbe").sum() == 2000
    assert store.manifest.description.endswith(": eV, angstrom, eV/angstrom")
    for name in store.fidelities:
        assert pairs(store, name).slope == pytest.approx(1, abs=0.03)
    np.testing.assert_array_equal(
        store.labels["gfn2"].energy, load(path, ["gfn2"]).labels["gfn2"].energy
    )
    gfn2 = {"energy": {"gfn2_energy": "gfn2"}, "forces": {"gfn2_forces": "gfn2"}}
    import_data(path, **gfn2)
    with pytest.raises(ValueError, match="not in hartree: all electrons together"):
        import_data(path, **gfn2, energy_unit="hartree")


def test_published_formaldehyde_as_archive_and_as_xyz() -> None:
    """CCSD(T) energies relative to the atoms: archive and text hold the same numbers."""
    archive = import_data(external("h2co_ccsdt_avtz_4001.npz"), fidelity="ccsdt")
    keys = {"energy": {"ccsdt_energy": "ccsdt"}, "forces": {"ccsdt_forces": "ccsdt"}}
    text = import_data(external("h2co_ccsdt.extxyz.gz"), **keys)
    assert archive.n_geometries == 4001
    assert pairs(archive, "ccsdt").slope == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(archive.positions, text.positions, atol=1e-7)
    np.testing.assert_allclose(
        archive.labels["ccsdt"].energy, text.labels["ccsdt"].energy, atol=1e-7
    )
    np.testing.assert_allclose(
        archive.labels["ccsdt"].forces, text.labels["ccsdt"].forces, atol=1e-6
    )
    with pytest.raises(ValueError, match="leave out --gradients"):
        import_data(external("h2co_ccsdt_avtz_4001.npz"), fidelity="ccsdt", gradients=True)


def spelt(store: Store, path: Path, comment: str, column: str = "forces", factor=1.0) -> Path:
    """Frames whose comment is filled with the energy and the number of the geometry."""
    text, path = "", path / "spelt.xyz"
    forces = store.labels["pbe"].forces * factor
    for g, energy in enumerate(store.labels["pbe"].energy * factor):
        mine = slice(store.offsets[g], store.offsets[g + 1])
        rows = np.concatenate([store.positions[mine], forces[mine]], axis=1)
        lines = [
            f"{symbol} {' '.join(map(repr, row.tolist()))}\n"
            for symbol, row in zip(store.atoms(g).symbols, rows, strict=True)
        ]
        level = "dft" if g % 4 else "xtb"
        head = comment.format(energy=float(energy), level=level, g=g)
        text += f"{len(rows)}\nProperties=species:S:1:pos:R:3:{column}:R:3 {head}\n{''.join(lines)}"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("comment", "column", "named"),
    [
        ("energy={energy}", "force", "force"),
        ("energy={energy} Virial=1", "forces", "Virial"),
        ("energy={energy} free_energy={energy} dft_gradient=1", "forces", "free_energy"),
    ],
)
def test_what_looks_like_labels_and_is_not_read_is_named(
    methanol, tmp_path, comment, column, named
) -> None:
    store = import_data(spelt(methanol, tmp_path, comment, column), fidelity="pbe")
    assert f"not imported, though it looks like labels: {named}" in store.manifest.description
    assert store.has_forces("pbe").all() == (column == "forces")


def test_a_capital_letter_is_named_where_no_energy_is_found(methanol, tmp_path) -> None:
    path = spelt(methanol, tmp_path, "Energy={energy}")
    with pytest.raises(ValueError, match="not imported, though it looks like labels: Energy"):
        import_data(path, fidelity="pbe")


def test_stated_units_are_read_and_checked(methanol, tmp_path) -> None:
    said = "energy={energy} energy-unit={{}} force-unit={{}}/angstrom"
    for unit in ("hartree", "kcal/mol"):
        text = said.replace("{{}}", unit)
        path = spelt(methanol, tmp_path, text, factor=1 / ENERGY[unit])
        assert_same(import_data(path, fidelity="pbe"), methanol)
    path = spelt(methanol, tmp_path, said.replace("{{}}", "eV"), factor=1 / HARTREE)
    with pytest.raises(ValueError, match="the energies are not in eV"):
        import_data(path, fidelity="pbe")
    path = spelt(methanol, tmp_path, "energy={energy} energy_unit=u{g}")
    with pytest.raises(ValueError, match=r"frame 2 .*u1 where .*frame 1 .*states u0"):
        import_data(path, fidelity="pbe")


@pytest.mark.parametrize("keys", ["REF_energy={energy} REF", "energy={energy} "])
def test_a_key_names_the_level_of_every_frame(methanol, tmp_path, keys) -> None:
    column = "REF_forces" if "REF" in keys else "forces"
    path = spelt(methanol, tmp_path, f"{keys} head={{level}} config_weight=2", column)
    store = import_data(path, level_key="head")
    every = np.arange(store.n_geometries) % 4 == 0
    assert set(store.fidelities) == {"xtb", "dft"}
    np.testing.assert_array_equal(store.has_energy("xtb"), every)
    np.testing.assert_array_equal(store.has_forces("dft"), ~every)
    both = np.where(every, store.labels["xtb"].energy, store.labels["dft"].energy)
    np.testing.assert_allclose(both, methanol.labels["pbe"].energy)
    assert "weights are not used: config_weight" in store.manifest.description
    known = {"REF_energy": "pbe"} if "REF" in keys else {"energy": "pbe"}
    with pytest.raises(ValueError, match=r"head has the values dft, xtb: .*--level-key head"):
        import_data(path, energy=known)
    assert import_data(path, energy=known, level_key="none").has_energy("pbe").all()
    with pytest.raises(ValueError, match=r"frame 1 .*no level, which names the level"):
        import_data(path, level_key="level")


@pytest.fixture(scope="module")
def single(whole) -> Store:
    """One geometry of each molecule, the most displaced one."""
    lengths = np.linalg.norm(whole.labels["pbe"].forces, axis=1)
    pull = np.add.reduceat(lengths, whole.offsets[:-1])
    groups = [np.flatnonzero(whole.group == name) for name in MOLECULES]
    return whole.select([int(mine[pull[mine].argmax()]) for mine in groups])


def test_forces_of_single_geometries_are_compared_with_gfn2(single, tmp_path) -> None:
    pytest.importorskip("tblite")
    path = spelt(single, tmp_path, "energy={energy}")
    assert "pbe forces are like those of GFN2-xTB" in (
        import_data(path, fidelity="pbe").manifest.description
    )
    with pytest.raises(
        ValueError, match=r"-\d\.\d+ times those of GFN2-xTB .*leave out --gradients"
    ):
        import_data(path, fidelity="pbe", gradients=True)
    turned = replace(
        single, labels={"pbe": Labels(single.labels["pbe"].energy, -single.labels["pbe"].forces)}
    )
    with pytest.raises(ValueError, match=r"times those of GFN2-xTB .*; give --gradients, or"):
        import_data(spelt(turned, tmp_path, "energy={energy}"), fidelity="pbe")
    atomic = single.labels["pbe"].forces / HARTREE * BOHR
    other = replace(single, labels={"pbe": Labels(single.labels["pbe"].energy, atomic)})
    path = spelt(other, tmp_path, "energy={energy}")
    with pytest.raises(ValueError, match="give --force-unit hartree/bohr, or"):
        import_data(path, fidelity="pbe")
    store = import_data(path, fidelity="pbe", force_unit="hartree/bohr")
    np.testing.assert_allclose(
        store.labels["pbe"].forces, single.labels["pbe"].forces, rtol=1e-5, atol=1e-6
    )


def test_forces_that_cannot_be_checked_are_said_to_be_so(
    single, whole, tmp_path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "tblite.interface", None)
    said = import_data(spelt(single, tmp_path, "energy={energy}"), fidelity="pbe").manifest
    assert "not checked: sign and unit of the pbe forces" in said.description
    assert "tblite is not installed" in said.description
    whole_said = import_data(spelt(whole, tmp_path, "energy={energy}"), fidelity="pbe").manifest
    assert "not checked" not in whole_said.description


def test_a_dissociation_scan_is_in_angstrom(tmp_path) -> None:
    """Most distances are those of bonds in bohr; some are bonds in angstrom."""
    frames = "".join(
        f"2\nProperties=species:S:1:pos:R:3 energy={-31.7 + 0.1 * k}\nH 0 0 0\nH 0 0 {r}\n"
        for k, r in enumerate([0.74, *np.linspace(1.2, 2.0, 9)])
    )
    (tmp_path / "scan.xyz").write_text(frames)
    store = import_data(tmp_path / "scan.xyz", fidelity="pbe", energy_unit="eV")
    assert store.positions[1, 2] == 0.74
