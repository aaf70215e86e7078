"""Files that once gave other numbers than they hold, or an error of another package."""

import sqlite3

import ase.db
import h5py
import numpy as np
import pytest
from ase import Atoms

from idle_md.data import Labels, Store, from_atoms, import_data, load, read_extxyz, save

WATER = Atoms("OH2", [[0, 0, 0.1], [0, 0.75, -0.4], [0, -0.75, -0.4]])
FRAME = "3\nProperties=species:S:1:pos:R:3 {}\nO 0 0 0.1\nH 0 0.75 -0.4\nH 0 -0.75 -0.4\n"
EV = {"energy_unit": "eV", "trust_units": True}


@pytest.fixture
def store() -> Store:
    bare = from_atoms([WATER, WATER], ["a", "b"])
    forces = np.zeros((6, 3), np.float32)
    bare.labels = {"pbe": Labels(np.array([-2079.0, -2080.0]), forces)}
    bare.manifest = bare.manifest.covering(bare.labels)
    return bare


@pytest.mark.parametrize("text", ["-2_079.5", "\u0661"])
def test_numbers_of_python_alone_are_none(text, tmp_path) -> None:
    (tmp_path / "a.xyz").write_text(FRAME.format(f"pbe_energy={text}"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"pbe_energy is .*, not a finite number"):
        read_extxyz(tmp_path / "a.xyz")


def test_geometries_without_labels_are_read_back_with_their_columns(store, tmp_path) -> None:
    store.labels, store.info = {}, {"smiles": np.array(["O", "[2H]O"])}
    save(store, tmp_path / "a.extxyz")
    again = load(tmp_path / "a.extxyz")
    assert again.fidelities == []
    assert again.info["smiles"].tolist() == ["O", "[2H]O"]


@pytest.mark.parametrize("breaks", ["\n", "\r", "\r\n"])
def test_a_line_break_in_a_text_is_no_extended_xyz(store, breaks, tmp_path) -> None:
    store.info = {"note": np.array([f"a{breaks}b", ""])}
    with pytest.raises(ValueError, match=r"holds a line break, .*write \.h5"):
        save(store, tmp_path / "a.extxyz")
    assert not list(tmp_path.iterdir())


def test_backslashes_in_quotes_are_kept_and_letters_are_those_of_windows(tmp_path) -> None:
    text = 'smiles="F/C=C\\F" by="\u201cM\u00fcller\u201d\u2026" note="a \\"b\\" \\\\c" q_energy=-1'
    (tmp_path / "a.xyz").write_bytes(FRAME.format(text).encode("cp1252"))
    info = read_extxyz(tmp_path / "a.xyz").info
    assert [info[key][0] for key in ("smiles", "by", "note")] == [
        "F/C=C\\F",
        "\u201cM\u00fcller\u201d\u2026",
        'a "b" \\c',
    ]


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("F", np.inf, "pbe force on atom 0 is infinite; use NaN where there is no label"),
        ("z", 0.5, "an atomic number is no integer"),
        ("z", np.inf, "an atomic number is no integer"),
    ],
)
def test_arrays_with_numbers_that_cannot_be_are_refused(key, change, message, tmp_path) -> None:
    arrays = {"z": WATER.numbers, "R": WATER.positions[None], "E": np.array([-2079.0])}
    arrays["F"] = np.zeros((1, 3, 3))
    arrays[key] = arrays[key] + change
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        import_data(tmp_path / "a.npz", energy={"E": "pbe"}, forces={"F": "pbe"}, **EV)


def test_an_archive_of_another_compression_is_damaged(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", z=WATER.numbers, R=WATER.positions[None], E=np.zeros(1))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.rfind(b"PK\x01\x02") + 10] = 99
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: not a whole npz archive .*copy it again"):
        import_data(tmp_path / "a.npz", energy={"E": "pbe"}, **EV)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("numbers", lambda x: x > 1, "numbers holds bool values, not int64"),
        ("numbers", lambda x: x + 0.5, "numbers holds float64 values, not int64"),
        ("offsets", lambda x: x[:0], r"offsets has shape \(0,\), it must be"),
        ("offsets", lambda x: x[None], r"offsets has shape \(1, 3\), it must be"),
        ("numbers", lambda x: x[0], "numbers is a single value, not an array"),
        ("numbers", lambda x: 0 * x, "unknown atomic number 0"),
        ("charge", lambda x: x + 0.5, "charge holds float64 values, not int64"),
        ("pbc", lambda x: x.astype(int), "pbc holds int64 values, not bool"),
        ("positions", lambda x: x + np.nan, "positions holds NaN or infinity"),
        ("positions", lambda x: x + 1j, "positions holds complex128 values, not float64"),
        ("labels/pbe/energy", lambda x: x > 0, "labels/pbe/energy holds bool values"),
    ],
)
def test_stores_with_arrays_of_another_type_are_refused(
    store, name, change, message, tmp_path
) -> None:
    store.write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        array = change(file[name][()])
        del file[name]
        file[name] = array
    with pytest.raises(ValueError, match=rf"a\.h5: {message}"):
        load(tmp_path / "a.h5")


def test_labels_are_of_this_machine_whatever_the_file_has(store, tmp_path) -> None:
    store.write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        for name, dtype in (("energy", ">f8"), ("forces", "f8")):
            array = file[f"labels/pbe/{name}"][()].astype(dtype)
            del file[f"labels/pbe/{name}"]
            file[f"labels/pbe/{name}"] = array
    labels = load(tmp_path / "a.h5").labels["pbe"]
    assert (labels.energy.dtype, labels.forces.dtype) == (np.float64, np.float32)
    assert labels.energy.dtype.isnative
    np.testing.assert_array_equal(labels.energy, [-2079.0, -2080.0])


@pytest.mark.parametrize(
    ("column", "value"),
    [("numbers", ""), ("numbers", None), ("positions", "x"), ("data", b"\x01"), ("cell", 0)],
)
def test_databases_with_a_wrong_value_are_damaged(column, value, tmp_path) -> None:
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(WATER, key_value_pairs={"total": -2079.0})
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute(f"update systems set {column}=?", (value,))
    database.close()
    with pytest.raises(ValueError, match=r"a\.db: not a whole ASE database .*copy it again"):
        import_data(tmp_path / "a.db", energy={"total": "pbe"}, **EV)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("energy,energy\n-1,-2\n-3,-4\n", "the column 'energy' comes twice; leave the right one"),
        ("energy\n-2_079.0\n-2080\n", "row 1: energy is '-2_079.0', not a number"),
    ],
)
def test_tables_that_are_not_clear_are_refused(store, table, message, tmp_path) -> None:
    store.write(tmp_path / "a.h5")
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(ValueError, match=rf"t\.csv.*{message}"):
        import_data(tmp_path / "t.csv", fidelity="cc", geometries=tmp_path / "a.h5", **EV)
