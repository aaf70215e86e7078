"""Stress labels in stores and files: whole, turned, with a box, in the right unit and sign."""

import re
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.data import (
    Labels,
    Store,
    StoreWriter,
    from_atoms,
    import_data,
    join,
    load,
    merge_copies,
    read_extxyz,
    save,
    summarise,
)
from idle_md.data.difference import difference
from idle_md.data.xyzline import voigt

GPA = 0.00624150907  # eV/angstrom^3


def copper(count: int = 12, seed: int = 0) -> list[Atoms]:
    """Strained boxes with energy, forces and stress of EMT."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
        strain = rng.uniform(-0.03, 0.03, (3, 3))
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
        atoms.positions += 0.03 * rng.normal(size=(4, 3))
        atoms.calc = EMT()
        results = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        names = ("energy", "forces", "stress")
        atoms.calc = SinglePointCalculator(atoms, **dict(zip(names, results, strict=True)))
        images.append(atoms)
    return images


def stress_of(images: list[Atoms]) -> np.ndarray:
    return np.array([atoms.get_stress() for atoms in images])


def store_of(images: list[Atoms]) -> Store:
    labels = Labels(
        np.array([atoms.get_potential_energy() for atoms in images]),
        np.concatenate([atoms.get_forces() for atoms in images]).astype(np.float32),
        stress_of(images),
    )
    return replace(from_atoms(images, ["Cu4"] * len(images)), labels={"emt": labels})


def write_mace(path: Path, images: list[Atoms], unit: float = 1.0, as_virial: bool = False) -> Path:
    """The layout that MACE reads: ``REF_energy``, ``REF_forces``, ``REF_stress``."""
    frames = []
    for atoms in images:
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        frame.info["REF_energy"] = atoms.get_potential_energy()
        stress = unit * voigt_6_to_full_3x3_stress(atoms.get_stress())
        if as_virial:
            frame.info["REF_virials"] = -stress * atoms.get_volume()
        else:
            frame.info["REF_stress"] = stress
        frame.arrays["REF_forces"] = atoms.get_forces()
        frames.append(frame)
    ase.io.write(path, frames, format="extxyz")
    return path


KEYS = {"energy": {"REF_energy": "emt"}, "forces": {"REF_forces": "emt"}}
STRESS, VIRIAL = {"stress": {"REF_stress": "emt"}}, {"virial": {"REF_virials": "emt"}}


def test_six_numbers_of_nine_and_of_a_matrix() -> None:
    six = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    matrix = [[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]
    for values in (six, matrix, np.ravel(matrix)):
        assert voigt(values).tolist() == six
    for wrong in (1.0, [1.0, 2.0, 3.0], np.ones((9, 1)), np.ones((6, 1))):
        with pytest.raises(ValueError, match=r"shape .* is no stress or virial; give six numbers"):
            voigt(wrong)
    with pytest.raises(ValueError, match="not symmetric"):
        voigt([1.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="NaN or infinity"):
        voigt([1.0, np.nan, 0.0, 0.0, 1.0, 0.0])


def test_select_join_and_pieces_keep_them(tmp_path, assert_equal_stores) -> None:
    store = store_of(copper())
    bare = replace(store, labels={"emt": replace(store.labels["emt"], stress=np.empty((0, 6)))})
    assert not bare.has_stress("emt").any()
    joined = join([bare.select([0, 1]), store.select([3, 2])])
    assert joined.has_stress("emt").tolist() == [False, False, True, True]
    np.testing.assert_array_equal(
        joined.labels["emt"].stress[2:], store.labels["emt"].stress[[3, 2]]
    )
    with StoreWriter(tmp_path / "pieces.h5") as writer:
        writer.append(joined.select([0, 1]))  # without
        writer.append(joined.select([2, 3]))
    assert_equal_stores(Store.read(tmp_path / "pieces.h5"), joined)


def test_a_store_without_the_array_reads_as_one_without_stress() -> None:
    store = store_of(copper(2))
    arrays = {k: v for k, v in store.arrays().items() if not k.endswith("stress")}
    old = Store.from_arrays(arrays, store.manifest, "old.h5")
    assert not old.has_stress("emt").any()
    assert old.has_label("emt").all()


def test_part_of_a_stress_or_one_without_a_box_is_an_error() -> None:
    store = store_of(copper(2))
    labels = store.labels["emt"]
    some = labels.stress.copy()
    some[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"stress of geometry 1 is no finite number in some"):
        replace(store, labels={"emt": replace(labels, stress=some)})
    slab = np.array([[True, True, True], [True, True, False]])
    with pytest.raises(ValueError, match=r"stress of geometry 1, which is not periodic"):
        replace(store, pbc=slab)
    with pytest.raises(ValueError, match=r"emt stress has shape \(2, 3\)"):
        replace(store, labels={"emt": replace(labels, stress=labels.stress[:, :3])})


def test_copies_that_are_turned_share_their_stress_turned() -> None:
    store = store_of(copper(2))
    turned = store.select([0])
    axis = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned.positions = turned.positions @ axis
    turned.cell = turned.cell @ axis
    full = voigt_6_to_full_3x3_stress(store.labels["emt"].stress[0])
    turned.labels["emt"].stress[0] = full_3x3_to_voigt_6_stress(axis.T @ full @ axis)
    turned.labels["emt"].forces = (turned.labels["emt"].forces @ axis).astype(np.float32)
    bare = store.select([0])
    bare.labels["emt"].stress[:] = np.nan
    merged = merge_copies(join([bare, turned]))
    assert merged.n_geometries == 1
    np.testing.assert_allclose(
        merged.labels["emt"].stress, store.labels["emt"].stress[:1], rtol=0, atol=1e-12
    )
    turned.labels["emt"].stress *= 1.5
    with pytest.raises(ValueError, match=r"emt stresses differ by 0\.\d+ eV/angstrom\^3"):
        merge_copies(join([store.select([0]), turned]))


def test_differences_and_summary_have_them() -> None:
    store = store_of(copper(4))
    high = store.labels["emt"]
    low = Labels(0.9 * high.energy, high.forces, 0.9 * high.stress)
    found = difference(replace(store, labels={"low": low, "high": high}), "high", "low")
    np.testing.assert_allclose(found.labels["high"].stress, 0.1 * high.stress, rtol=1e-9)
    summary = summarise(store).fidelities["emt"]
    assert summary.n_stress == {"none": 4}
    pressures = -high.stress[:, :3].mean(axis=1) / GPA
    assert summary.pressure_range_gpa == pytest.approx((pressures.min(), pressures.max()))
    assert summarise(load("chno-mini")).fidelities["gfn2"].pressure_range_gpa is None


def test_info_and_convert(tmp_path: Path) -> None:
    save(store_of(copper(3)), tmp_path / "a.h5")
    runner = CliRunner()
    printed = runner.invoke(app, ["data", "info", str(tmp_path / "a.h5")]).output
    assert "emt S" in printed
    assert "pressure, GPa" in printed
    assert "pressure" not in runner.invoke(app, ["data", "info", "chno-mini"]).output
    printed = runner.invoke(
        app, ["data", "convert", str(tmp_path / "a.h5"), str(tmp_path / "a.extxyz")]
    ).output
    assert "emt 3 E + 3 F + 3 S" in printed
    again = read_extxyz(tmp_path / "a.extxyz")
    np.testing.assert_array_equal(again.labels["emt"].stress, stress_of(copper(3)))
    ours = ase.io.read(tmp_path / "a.extxyz", ":")
    np.testing.assert_array_equal([a.info["emt_stress"] for a in ours], stress_of(copper(3)))


def one_frame(tmp_path: Path, comment: str) -> Path:
    path = tmp_path / "one.extxyz"
    path.write_text(f"1\n{comment} pbe_energy=-1.0\nCu 0.0 0.0 0.0\n")
    return path


BOX = 'Lattice="3 0 0 0 3 0 0 0 3"'


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        (f'{BOX} pbe_stress="1 2 3"', r"frame 1 .*pbe_stress: shape \(3,\) is no stress"),
        (f'{BOX} pbe_stress="1 2 3 4 5 x"', r"frame 1 .*pbe_stress: could not convert"),
        (f'{BOX} pbe_stress="1 2 3 4 5 nan"', r"frame 1 .*pbe_stress: holds NaN"),
        ('pbe_stress="1 2 3 4 5 6"', r"frame 1 .*pbe_stress without a box"),
        (f'{BOX} pbc="T T F" pbe_stress="1 2 3 4 5 6"', r"frame 1 .*pbe_stress without a box"),
        (
            f'{BOX} Properties=species:S:1:pos:R:3:pbe_stress:R:6 pbe_stress="1 2 3 4 5 6"',
            r"frame 1 .*atom 1 has 4 columns",
        ),
        (f'{BOX} stress-unit=GPa pbe_stress="1 2 3 4 5 6"', r"states GPa as its unit of stress"),
    ],
)
def test_a_wrong_stress_in_extended_xyz_is_an_error(tmp_path, comment, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_extxyz(one_frame(tmp_path, comment))


def test_ase_files_are_imported_by_default(tmp_path: Path) -> None:
    images = copper()
    ase.io.write(tmp_path / "a.extxyz", images)
    database = connect(tmp_path / "a.db")
    for atoms in images:
        database.write(atoms)
    ase.io.write(tmp_path / "a.traj", images)
    for name in ("a.extxyz", "a.db", "a.traj"):
        store = import_data(tmp_path / name, fidelity="emt", energy_unit="eV")
        np.testing.assert_allclose(store.labels["emt"].stress, stress_of(images), atol=1e-8)
        assert "eV/angstrom^3" in store.manifest.description
        assert "not checked: sign and unit of the emt stresses" not in store.manifest.description
        assert "stress" not in store.info


def write_deepmd(folder: Path, images: list[Atoms]) -> Path:
    """The layout of dpdata: virials in eV."""
    arrays = {
        "coord": [atoms.positions for atoms in images],
        "box": [atoms.cell[:] for atoms in images],
        "energy": [atoms.get_potential_energy() for atoms in images],
        "force": [atoms.get_forces() for atoms in images],
        "virial": [-atoms.get_volume() * atoms.get_stress(voigt=False) for atoms in images],
    }
    (folder / "set.000").mkdir(parents=True)
    for key, values in arrays.items():
        np.save(folder / "set.000" / f"{key}.npy", np.reshape(values, (len(images), -1)))
    (folder / "type.raw").write_text("0 0 0 0")
    (folder / "type_map.raw").write_text("Cu")
    return folder


def test_virials_of_deepmd_are_imported_where_there_is_a_box(tmp_path: Path) -> None:
    images = copper()
    path = write_deepmd(tmp_path / "system", images)
    found = import_data(path, fidelity="emt").labels["emt"]
    np.testing.assert_allclose(found.stress, stress_of(images), atol=1e-8)
    np.testing.assert_allclose(found.forces[:4], images[0].get_forces(), atol=1e-6)
    (path / "nopbc").touch()
    store = import_data(path, fidelity="emt")
    assert not store.has_stress("emt").any()
    assert "12 emt stresses are left out" in store.manifest.description


@pytest.mark.parametrize(
    ("unit", "factor", "flip"),
    [("GPa", 1 / GPA, False), ("kbar", -10 / GPA, True), ("eV/A^3", 1.0, False)],
)
def test_units_and_signs(tmp_path: Path, unit: str, factor: float, flip: bool) -> None:
    images = copper()
    path = write_mace(tmp_path / "a.extxyz", images, factor)
    units = {"energy_unit": "eV", "stress_unit": unit, "flip_stress": flip}
    store = import_data(path, **KEYS, **STRESS, **units)
    np.testing.assert_allclose(store.labels["emt"].stress, stress_of(images), rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match=r"differ by -1.* times .*--flip-stress"):
        import_data(path, **KEYS, **STRESS, **units | {"flip_stress": not flip})


def test_virials_of_mace(tmp_path: Path) -> None:
    images = copper()
    path = write_mace(tmp_path / "a.extxyz", images, as_virial=True)
    store = import_data(path, **KEYS, **VIRIAL, energy_unit="eV")
    np.testing.assert_allclose(store.labels["emt"].stress, stress_of(images), rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match="--flip-stress"):
        import_data(path, **KEYS, **VIRIAL, energy_unit="eV", flip_stress=True)
    left = import_data(path, **KEYS, energy_unit="eV")
    assert "not imported, though it looks like labels: REF_virials" in left.manifest.description
    runner = CliRunner()
    command = ["data", "import", str(path), "-o", str(tmp_path / "b.h5"), "--energy-unit", "eV"]
    command += ["--energy", "REF_energy=emt", "--virial", "REF_virials=emt"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "emt 12 E + 0 F + 12 S" in result.output


def test_stress_in_another_unit_is_noticed(tmp_path: Path) -> None:
    path = write_mace(tmp_path / "a.extxyz", copper(), 1 / GPA)
    with pytest.raises(ValueError, match=r"stresses in eV/angstrom\^3 make .* eV per atom"):
        import_data(path, **KEYS, **STRESS, energy_unit="eV")
    with pytest.raises(ValueError, match=r"differ by 1\.\d*e\+04 times"):
        import_data(path, **KEYS, **STRESS, energy_unit="eV", stress_unit="bar")
    few = write_mace(tmp_path / "few.extxyz", copper(3))
    store = import_data(few, **KEYS, **STRESS, energy_unit="eV")
    assert "not checked: sign and unit of the emt stresses" in store.manifest.description
    with pytest.raises(ValueError, match=r"unknown unit 'atm'"):
        import_data(few, **KEYS, **STRESS, energy_unit="eV", stress_unit="atm")


def test_stresses_without_a_box_are_left_out_by_name(tmp_path: Path) -> None:
    images = copper()
    images[3].pbc = [True, True, False]
    ase.io.write(tmp_path / "a.extxyz", images)
    store = import_data(tmp_path / "a.extxyz", fidelity="emt", energy_unit="eV")
    assert store.has_stress("emt").sum() == 11
    assert not store.has_stress("emt")[3]
    assert "1 emt stresses are left out" in store.manifest.description


def test_a_wrong_shape_in_an_import_names_the_frame(tmp_path: Path) -> None:
    images = copper(3)
    path = write_mace(tmp_path / "a.extxyz", images)
    text = path.read_text()
    path.write_text(re.sub(r'REF_stress="[^"]*"', 'REF_stress="1.0 2.0 3.0"', text, count=1))
    with pytest.raises(ValueError, match=r"frame 1 .*REF_stress: shape \(3,\) is no stress"):
        import_data(path, **KEYS, **STRESS, energy_unit="eV")
    database = connect(tmp_path / "a.db")
    database.write(images[0], data={"virial": np.ones(4)})
    with pytest.raises(ValueError, match=r"row 1: virial: shape \(4,\) is no stress"):
        import_data(tmp_path / "a.db", energy={"energy": "emt"}, virial={"virial": "emt"})


def test_formats_without_boxes_refuse_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", R=np.zeros((2, 2, 3)), z=[1, 1], E=np.zeros(2), virial=np.ones(6))
    with pytest.raises(ValueError, match=r"no stresses are read from this format: leave out"):
        import_data(tmp_path / "a.npz", energy={"E": "dft"}, virial={"virial": "dft"})


def test_levels_named_per_frame_keep_their_stress(tmp_path: Path) -> None:
    images = copper()
    for number, atoms in enumerate(images):
        atoms.info["head"] = ("pbe", "scan")[number % 2]
    ase.io.write(tmp_path / "a.extxyz", images)
    store = import_data(tmp_path / "a.extxyz", level_key="head", energy_unit="eV")
    assert store.has_stress("pbe").tolist() == [True, False] * 6
    np.testing.assert_allclose(
        store.labels["scan"].stress[1::2], stress_of(images)[1::2], atol=1e-8
    )
