"""Extended XYZ: nothing is lost on the way, and wrong frames are named."""

import gzip
import re

import ase.io
import numpy as np
import pytest

from idle_md.data import read_extxyz, save, write_extxyz
from idle_md.data.sources import load

GOOD = """\
2
Properties=species:S:1:pos:R:3:low_forces:R:3 molecule=water low_energy=-1.5 high_energy=-2.5
O 0 0 0 0.1 0.2 0.3
H 0 0 1 -0.1 -0.2 -0.3
2
Properties=species:S:1:pos:R:3 molecule=water role=test low_energy=-1.25
O 0 0 0
H 0 0 1.1
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text: str, **options):
        path = tmp_path / "set.extxyz"
        path.write_text(text)
        return read_extxyz(path, **options)

    return read_text


def test_labels_and_their_absence(read) -> None:
    store = read(GOOD)
    assert store.fidelities == ["low", "high"]
    assert store.labels["low"].energy.tolist() == [-1.5, -1.25]
    assert store.has_energy("high").tolist() == [True, False]
    assert store.has_forces("low").tolist() == [True, False]
    assert not store.has_forces("high").any()
    np.testing.assert_array_equal(
        store.labels["low"].forces[:2], np.float32([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
    )
    assert store.role.tolist() == ["", "test"]
    assert store.group.tolist() == ["water", "water"]


@pytest.mark.parametrize("suffix", [".extxyz", ".extxyz.gz", ".xyz"])
def test_round_trip_through_both_formats(store, assert_equal_stores, suffix, tmp_path) -> None:
    first, second, third = tmp_path / f"a{suffix}", tmp_path / "b.h5", tmp_path / f"c{suffix}"
    save(store, first)
    save(load(first), second)
    save(load(second), third)
    assert_equal_stores(load(third), store)


def test_ase_reads_what_is_written(store, tmp_path) -> None:
    write_extxyz(store, tmp_path / "set.extxyz")
    frames = ase.io.read(tmp_path / "set.extxyz", ":")
    assert len(frames) == store.n_geometries
    for index, atoms in enumerate(frames):
        assert atoms == store.atoms(index)
        energy = atoms.info.get("high_energy", np.nan)
        np.testing.assert_equal(energy, store.labels["high"].energy[index])
        assert ("high_forces" in atoms.arrays) == store.has_forces("high")[index]
        assert atoms.info["molecule"] == store.group[index]


def test_ase_writes_what_is_read(store, tmp_path) -> None:
    frames = [store.atoms(index) for index in range(store.n_geometries)]
    for index, atoms in enumerate(frames):
        atoms.info |= {"molecule": store.group[index], "pbe_energy": -1.0 / (index + 3)}
    ase.io.write(tmp_path / "set.extxyz", frames)
    again = read_extxyz(tmp_path / "set.extxyz")
    assert again.group.tolist() == store.group.tolist()
    assert again.labels["pbe"].energy.tolist() == [a.info["pbe_energy"] for a in frames]
    np.testing.assert_array_equal(again.pbc, store.pbc)
    np.testing.assert_array_equal(again.numbers, store.numbers)
    np.testing.assert_allclose(again.positions, store.positions, atol=1e-8)


def test_group_is_the_formula_where_no_molecule_is_named(read) -> None:
    assert read(GOOD.replace("molecule=water ", "")).group.tolist() == ["HO", "HO"]


def test_one_level_of_several(read) -> None:
    store = read(GOOD, fidelities=["high"])
    assert store.fidelities == ["high"]
    assert "low_energy" not in store.info


def test_missing_label_key_lists_the_keys_found(read) -> None:
    with pytest.raises(ValueError, match="missing label key: no frame has ccsdt_energy or") as one:
        read(GOOD, fidelities=["low", "ccsdt"])
    assert "set.extxyz" in str(one.value)
    assert "low_energy, high_energy" in str(one.value)
    plain = GOOD.replace("low_", "").replace("high_energy", "dipole")
    with pytest.raises(ValueError, match=r"missing label key.*found are.* energy.*name each label"):
        read(plain)


FIRST, SECOND = r"set\.extxyz, frame 1 \(.*line 1\): ", r"set\.extxyz, frame 2 \(.*line 5\): "


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("=-1.25", "=nan", SECOND + "low_energy is 'nan', not a finite number; leave the key out"),
        ("=-1.25", "=inf", SECOND + "low_energy is 'inf', not a finite number"),
        ("=-1.25", "=minus", SECOND + "low_energy is 'minus'"),
        ("H 0 0 1 -0.1", "H 0 0 1 nan", FIRST + "low_forces holds NaN"),
        ("H 0 0 1.1", "H 0 0 nan", SECOND + "the position of atom 2 is no finite number"),
        ("H 0 0 1.1", "Hx 0 0 1.1", SECOND + "unknown element 'Hx': use a chemical symbol"),
        ("H 0 0 1.1", "h 0 0 1.1", SECOND + "unknown element 'h': write 'H'"),
        ("H 0 0 1.1", "H 0 0", SECOND + "atom 2 has 3 columns where Properties describes 4"),
        ("H 0 0 1.1", "H 0 0 1,1", SECOND + "column pos: .*'1,1'"),
        ("role=test", "role=test role=ood", SECOND + "the key 'role' comes twice"),
        ("role=test", 'role="test', SECOND + "cannot read"),
        (":low_forces:R:3", ":pos:R:3", FIRST + "the property 'pos' comes twice"),
        ("pos:R:3 molecule=water role", "pos:R role", SECOND + "cannot read Properties"),
        ("pos:R:3 molecule=water role", "xyz:R:3 role", SECOND + ".*lacks species:S:1 or pos:R:3"),
        ("molecule=water role", "role", r"frame 2 \(line 5\): no molecule, but other frames"),
        ("role=test", "pbc='T T F'", SECOND + "periodic .* there is no Lattice"),
        ("role=test", "pbc=T", SECOND + "pbc must be three of T and F"),
        ("role=test", "Lattice='1 2 3'", SECOND + "Lattice must be nine numbers"),
        ("role=test", "charge=0.5", SECOND + "charge is '0.5'; give the total charge, an integer"),
        ("role=test", "low_forces=0", SECOND + "low_forces is in the comment line; make it a"),
        ("H 0 0 1.1\n", "", SECOND + "2 atoms announced, 1 lines left; is it truncated"),
        ("2\nProperties=species:S:1:pos:R:3 ", "C 0\nProperties=", "frame 2.*a number of atoms"),
    ],
)
def test_wrong_frame_is_named(good, bad, message, read) -> None:
    assert GOOD.count(good) == 1
    with pytest.raises(ValueError, match=message):
        read(GOOD.replace(good, bad))


def test_frame_is_named_with_its_molecule(read) -> None:
    with pytest.raises(ValueError, match=r"frame 2 \(molecule water, line 5\): low_energy"):
        read(GOOD.replace("-1.25", "nan"))


@pytest.mark.parametrize("width", [1, 2, 6])
def test_forces_of_wrong_shape_are_named(width, read) -> None:
    text = GOOD.replace("low_forces:R:3", f"low_forces:R:{width}")
    text = re.sub(r" \S*0.1 \S*0.2 \S*0.3", " 1.0" * width, text)
    message = FIRST + rf"low_forces has shape \(2, {width}\), the frame needs \(2, 3\); describe"
    with pytest.raises(ValueError, match=message):
        read(text)


def test_truncated_archive_is_refused(tmp_path) -> None:
    path = tmp_path / "set.extxyz.gz"
    path.write_bytes(gzip.compress(GOOD.encode())[:-12])
    with pytest.raises(ValueError, match=r"set\.extxyz\.gz.*truncated"):
        read_extxyz(path)


def test_empty_file_is_refused(read) -> None:
    with pytest.raises(ValueError, match=r"set\.extxyz: no frames"):
        read("\n")


WATER = "O 0 0 0.1\nH 0 0.75 -0.4\nH 0 -0.75 -0.4\n"


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("pbc=[F, F, F] note=1", {"note": 1}),
        ("dipole=[1.0, 2.0, 2.0, 5.0]", {"dipole": "1.0 2.0 2.0 5.0"}),
        ("t=[[1, 2], [3, 4]] u=[5 6] v=[7,8]", {"t": "1 2 3 4", "u": "5 6", "v": "7 8"}),
        ("smiles=[NH4+] other=[O-]C[NH3+]C", {"smiles": "[NH4+]", "other": "[O-]C[NH3+]C"}),
        ('"my note"=3 "b" = "c d"', {"my note": 3, "b": "c d"}),
        ("name=2,2'-bipyridine author=M\xfcller", {"name": "2,2'-bipyridine", "author": "Müller"}),
        ("flag step = 7 u= 5", {"flag": "T", "step": 7, "u": 5}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
def test_the_grammar_of_the_specification(comment, expected, encoding, tmp_path) -> None:
    line = f"Properties=species:S:1:pos:R:3 {comment} e_energy = -0.2079D+04"
    path = tmp_path / "set.xyz"
    path.write_text(f"3\n{line}\n{WATER.replace('0.1', '1.0d-1')}", encoding=encoding)
    store = read_extxyz(path)
    assert {key: column[0] for key, column in store.info.items()} == expected
    assert store.labels["e"].energy[0] == -2079.0
    assert store.positions[0, 2] == 0.1
    assert not store.pbc.any()


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "-2092.95866446",
        " i =     1, time =        0.500, E =       -17.1643447508",
        " energy: -5.069953920493 gnorm: 0.001 xtb: 6.5.1 (579679a)",
        "Coordinates from ORCA-job mol E -76.914812955829",
        'it\'s "water", step 3 step 4',
    ],
)
def test_plain_xyz_is_geometries_and_comments(comment, read) -> None:
    store = read(f"3\n{comment}\n{WATER}" * 2)
    assert store.n_geometries == 2
    assert store.fidelities == []
    assert {key: column[0] for key, column in store.info.items()} == (
        {"comment": comment.strip()} if comment and not comment.startswith("-2") else
        {"comment": float(comment)} if comment else {}
    )  # fmt: skip


@pytest.mark.parametrize(
    "pair", ["energy-unit=hartree", "force_units=hartree/bohr", "LengthUnit=nm"]
)
def test_stated_units_other_than_those_of_the_format_are_refused(read, pair) -> None:
    with pytest.raises(ValueError, match=r"states .* as its unit of .*`idle-md data import` conv"):
        read(GOOD.replace("molecule=water", f"molecule=water {pair}"))
    assert read(GOOD.replace("molecule=water", "molecule=water energy_unit=eV force-unit=eV/Ang"))
