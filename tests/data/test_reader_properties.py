"""Whatever a file holds, its readers give its numbers, or an error of this project that names it.

Every property is tried on some hundred examples, and on ten thousand where tests are slow.
"""

import csv
import io
import json
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.db
import h5py
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from idle_md.data import Labels, Store, import_data, read_extxyz, write_extxyz
from idle_md.data.manifest import Manifest, read_manifest
from idle_md.elements import symbols
from idle_md.fidelity import LevelOfTheory

SLOW = pytest.mark.slow
FEW = 150
MANY = 10_000


def tried(factor: float = 1.0):
    """A few examples always, many where tests are slow."""
    counts = [round(FEW * factor), pytest.param(round(MANY * factor), marks=SLOW)]
    return pytest.mark.parametrize("examples", counts)


def holds(check: Callable[..., None], examples: int, *drawn: st.SearchStrategy) -> None:
    """Whether a property holds; the few examples are the same every time."""
    profile = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < MANY // 10,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        print_blob=True,
    )
    profile(given(*drawn)(check))()


def attempt(read: Callable[[], Any], path: Path) -> Any:
    """What was read; None where this project refuses it in a sentence that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read()
    except ValueError as error:
        if type(error) is not ValueError or str(path) not in str(error):
            raise
        return None


FINITE = st.floats(-1e6, 1e6)
ODD = "\n\r\u00e9\u00fc\u2026\u00a0\u2028\u0085\x0b\x1c\ufeff\U0001f600\"'\\{}[]=,;: \t#"
TEXT = st.text(st.sampled_from("abcXYZ019_-+." + ODD), max_size=8)
WORD = st.text(st.sampled_from("abcdXYZ019"), min_size=1, max_size=6)


@st.composite
def stores(draw) -> Store:
    """One to three geometries of one to three atoms, with labels of two levels here and there."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    n, total = len(sizes), sum(sizes)

    def reals(count: int) -> np.ndarray:
        return np.array(draw(st.lists(FINITE, min_size=count, max_size=count)))

    labels = {}
    for name in ("low", "high"):
        energy, forces = reals(n), reals(3 * total).reshape(-1, 3).astype(np.float32)
        energy[draw(st.lists(st.booleans(), min_size=n, max_size=n))] = np.nan
        missing = draw(st.lists(st.booleans(), min_size=n, max_size=n))
        forces[np.repeat(missing, sizes)] = np.nan
        labels[name] = Labels(energy, forces)
    periodic = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    cells = np.where(periodic[:, None, None], np.eye(3) + np.abs(reals(9 * n).reshape(n, 3, 3)), 0)
    return Store(
        numbers=np.array(draw(st.lists(st.integers(1, 118), min_size=total, max_size=total))),
        positions=reals(3 * total).reshape(-1, 3),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        cell=cells,
        pbc=np.repeat(periodic[:, None], 3, axis=1),
        charge=np.array(draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))),
        group=np.array(draw(st.lists(TEXT.map(lambda t: f"m{t}m"), min_size=n, max_size=n))),
        role=np.array(
            draw(st.lists(st.sampled_from(["", "train", "test"]), min_size=n, max_size=n))
        ),
        labels=labels,
        info={
            "note": np.array(draw(st.lists(TEXT.map(lambda t: f"x{t}x"), min_size=n, max_size=n)))
        },
        manifest=Manifest(levels={"low": LevelOfTheory(method="GFN2-xTB")}),
    )


NUMBERS = ("numbers", "positions", "offsets", "cell", "pbc", "charge")


def same(one: Store, other: Store, texts: bool = True) -> None:
    """Every number is equal to the last bit, and so is the text."""
    for name in NUMBERS + (("group", "role") if texts else ()):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in {*one.labels, *other.labels}:
        for kind in ("energy", "forces"):
            mine, its = (
                getattr(
                    each.labels.get(name, Labels.empty(each.n_geometries, len(each.numbers))), kind
                )
                for each in (one, other)
            )
            np.testing.assert_array_equal(mine, its, err_msg=f"{name} {kind}")
    if texts:
        np.testing.assert_array_equal(one.info["note"], other.info["note"])


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("properties")
    return lambda name: folder / name


@tried()
def test_text_keeps_every_number(examples, file) -> None:
    def check(store: Store) -> None:
        texts = (*store.group, *store.info["note"])
        if any("\n" in each or "\r" in each for each in texts):
            with pytest.raises(ValueError, match="holds a line break"):
                write_extxyz(store, file("a.extxyz"))
        else:
            write_extxyz(store, file("a.extxyz"))
            same(read_extxyz(file("a.extxyz")), store)

    holds(check, examples, stores())


@tried(0.3)
def test_hdf5_keeps_every_number(examples, file) -> None:
    def check(store: Store) -> None:
        store.write(file("a.h5"))
        same(Store.read(file("a.h5")), store)

    holds(check, examples, stores())


# Layouts of one text that mean the same, and damage that must not pass for other numbers.


def lines_of(store: Store, file: Callable[[str], Path]) -> list[str]:
    write_extxyz(store, file("a.extxyz"))
    return file("a.extxyz").read_text().splitlines()


def rows_of(lines: list[str]) -> list[int]:
    """Numbers of the lines of atoms."""
    rows, at = [], 0
    while at < len(lines):
        rows += range(at + 2, at + 2 + int(lines[at]))
        at += 2 + int(lines[at])
    return rows


plain_stores = stores().map(
    lambda s: Store(**{**vars(s), "group": np.full(s.n_geometries, "m"), "info": {}})
)
LAYOUTS = {
    "tabs": lambda text: text.replace(" ", "\t"),
    "blanks": lambda text: text.replace(" ", "   ").replace("\n", "  \n") + "\n \n",
    "a key": lambda text: text.replace("molecule=", "odd_\u00e9='\u2026' molecule="),
    "apart": lambda text: text.replace("molecule=", "molecule = "),
    "brackets": lambda text: text.replace('pbc="F F F"', "pbc=[F, F, F]"),
    "exponents": lambda text: text.replace("e-", "D-").replace("e+", "d+"),
    "quoted": lambda text: text.replace("molecule=m", 'molecule="m"'),
    "line ends": lambda text: text.replace("\n", "\r\n"),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252")


@tried()
def test_layout_changes_no_number(examples, file) -> None:
    def check(store: Store, layouts: list[str], encoding: str) -> None:
        text = "\n".join(lines_of(store, file)) + "\n"
        for name in filter(layouts.__contains__, LAYOUTS):
            text = LAYOUTS[name](text)
        file("b.xyz").write_bytes(text.encode(encoding))
        same(read_extxyz(file("b.xyz")), Store(**{**vars(store), "info": {}}), texts=False)

    layouts = st.lists(st.sampled_from(sorted(LAYOUTS)), unique=True, max_size=4)
    holds(check, examples, plain_stores, layouts, st.sampled_from(ENCODINGS))


BROKEN = (
    "nan",
    "inf",
    "1e999",
    "1_0",
    "0,5",
    "x",
    "1.2.3",
    "--1",
    "\u22121",
    "0x10",
    "\u0663",
    "***",
)


@tried()
def test_damaged_text_is_refused(examples, file) -> None:
    def check(store: Store, kind: str, pick: int, token: str) -> None:
        lines = lines_of(store, file)
        row = rows_of(lines)[pick % store.n_atoms.sum()]
        words = lines[row].split()
        if kind == "number":
            words[1 + pick % (len(words) - 1)] = token
        elif kind == "column lost":
            words.pop()
        elif kind == "column more":
            words.append("1.0")
        elif kind == "element":
            words[0] = token
        lines[row] = " ".join(words)
        if kind == "row lost":
            del lines[row]
        elif kind == "row twice":
            lines.insert(row, lines[row])
        elif kind == "key twice":
            lines[1] += " pbc='T T T'"
        elif kind == "count":
            lines[0] = token
        elif kind == "energy":
            lines[1] = f"low_energy={token} {lines[1]}"
        file("b.xyz").write_text("\n".join(lines) + "\n", encoding="utf-8")
        assert attempt(lambda: read_extxyz(file("b.xyz")), file("b.xyz")) is None

    kinds = (
        "number", "column lost", "column more", "element", "row lost", "row twice", "key twice",
        "count", "energy",
    )  # fmt: skip
    holds(
        check,
        examples,
        plain_stores,
        st.sampled_from(kinds),
        st.integers(0, 100),
        st.sampled_from(BROKEN),
    )


@tried(2)
def test_any_text_is_read_or_refused(examples, file) -> None:
    """Pieces of files in any order; bytes that are no text."""
    pieces = st.sampled_from(
        [b"1\n", b"2\n", b"H 0 0 0\n", b"C 0 0 1.1\n", b"Properties=species:S:1:pos:R:3", b"\n",
         b" low_energy=-1.5", b" Lattice=\"1 0 0 0 1 0 0 0 1\"", b" pbc=T", b" charge=1", b"\r",
         b" spin=2", b" =", b"\"", b"{", b"[", b"\xff", b"\x00", b"\x1f\x8b", b"BZh9",
         b"\xfd7zXZ\x00",
         b"\xff\xfe", b":low_forces:R:3", b":species:S:1", b"\xe2\x80\xa8", b"1e5", b"-", b":R:0"]
    )  # fmt: skip

    def check(content: list[bytes]) -> None:
        file("c.xyz").write_bytes(b"".join(content))
        attempt(lambda: read_extxyz(file("c.xyz")), file("c.xyz"))
        attempt(lambda: import_data(file("c.xyz"), fidelity="pbe"), file("c.xyz"))

    holds(check, examples, st.lists(pieces, min_size=1, max_size=14))


# Arrays: HDF5, npz, databases.

WATER = np.array([8, 1, 1]), np.array([[0, 0, 0.1], [0, 0.75, -0.4], [0, -0.75, -0.4]])


def molecule(shifts: list[float]) -> dict[str, np.ndarray]:
    """Waters that are displaced a little, by the names of MD17."""
    moved = WATER[1] + 0.01 * np.array(shifts)[:, None, None] * np.arange(9).reshape(3, 3)
    energies = -2079.0 + np.array(shifts)
    return {"z": WATER[0], "R": moved, "E": energies, "F": np.zeros_like(moved)}


SHIFTS = st.lists(st.floats(-1, 1), min_size=1, max_size=4)
CHANGES: dict[str, Callable[[np.ndarray], Any]] = {
    "nothing": lambda array: array,
    "float32": lambda array: array.astype(np.float32),
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "fortran order": np.asfortranarray,
    "empty": lambda array: array[:0],
    "one less": lambda array: array[:-1],
    "one more": lambda array: np.concatenate([array, array[-1:]]),
    "flat": np.ravel,
    "deeper": lambda array: array[None],
    "scalar": lambda array: array.flat[0],
    "NaN": lambda array: np.full(array.shape, np.nan),
    "infinite": lambda array: np.full(array.shape, np.inf),
    "negative": lambda array: -1.0 - np.abs(array),
    "complex": lambda array: array + 1j,
    "text": lambda array: array.astype(np.bytes_),
    "booleans": lambda array: array > 0,
    "fractions": lambda array: array + 0.5,
    "huge": lambda array: array.astype(np.float64) * 1e9,
}
KEEPING = ("nothing", "float32", "big-endian", "fortran order")


def agree(found: Store | None, arrays: dict[str, np.ndarray], change: str, key: str) -> None:
    """Whatever was read has the numbers that the file had before it was changed, if any."""
    if change in KEEPING:
        assert found is not None
    if found is None or (change in ("fractions", "huge", "negative", "NaN") and key != "z"):
        return
    np.testing.assert_array_equal(found.numbers, np.tile(arrays["z"], found.n_geometries))
    np.testing.assert_allclose(found.positions, arrays["R"].reshape(-1, 3), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.labels["pbe"].energy, arrays["E"], rtol=1e-6)
    np.testing.assert_array_equal(found.labels["pbe"].forces, arrays["F"].reshape(-1, 3))


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


def write_hdf5(path: Path, arrays: dict[str, Any]) -> None:
    names = {"z": "atomic_numbers", "R": "coordinates", "E": "pbe.energy", "F": "pbe.forces"}
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[f"water/{names[key]}"] = array


OPTIONS = {"energy_unit": "eV", "trust_units": True}
KEYED = {"energy": {"pbe.energy": "pbe"}, "forces": {"pbe.forces": "pbe"}}
KINDS = {
    "npz": (write_npz, {"energy": {"E": "pbe"}, "forces": {"F": "pbe"}}),
    "h5": (write_hdf5, KEYED),
}


@tried(0.7)
@pytest.mark.parametrize("kind", KINDS)
def test_changed_arrays_are_read_or_refused(examples, kind, file) -> None:
    write, options = KINDS[kind]
    path = file(f"arrays.{kind}")

    def check(shifts: list[float], change: str, key: str) -> None:
        arrays = molecule(shifts)
        write(path, {**arrays, key: CHANGES[change](arrays[key])})
        found = attempt(lambda: import_data(path, **options, **OPTIONS), path)
        agree(found, arrays, change, key)

    holds(check, examples, SHIFTS, st.sampled_from(sorted(CHANGES)), st.sampled_from("zREF"))


@tried(0.7)
@pytest.mark.parametrize("kind", ["npz", "h5", "store"])
def test_cut_and_flipped_files_are_refused(examples, kind, file) -> None:
    path = file(f"cut.{'h5' if kind == 'store' else kind}")
    if kind == "store":
        _store([0.0, 0.5, 1.0]).write(path)
        read: Callable[[], Any] = lambda: Store.read(path)  # noqa: E731
    else:
        write, options = KINDS[kind]
        write(path, molecule([0.0, 0.5, 1.0]))
        read = lambda: import_data(path, **options, **OPTIONS)  # noqa: E731
    whole = path.read_bytes()
    first = read()

    def check(share: float, flips: list[tuple[float, int]]) -> None:
        content = bytearray(whole[: round(share * len(whole))] if share < 1 else whole)
        for place, bits in flips if kind == "npz" else []:  # HDF5 has no checksums here
            if content:
                content[int(place * len(content))] ^= bits
        path.write_bytes(content)
        found = attempt(read, path)
        if found is not None:
            same(found, first, texts=False)

    cuts = st.one_of(st.just(1.0), st.floats(0, 1, exclude_max=True))
    flips = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
    holds(check, examples, cuts, st.lists(flips, max_size=3))


STORE_KEYS = (
    "numbers", "positions", "offsets", "cell", "pbc", "charge", "group", "role",
    "labels/pbe/energy", "labels/pbe/forces",
)  # fmt: skip


@tried(0.5)
def test_changed_stores_are_read_or_refused(examples, file) -> None:
    path = file("changed.h5")

    def check(shifts: list[float], change: str, key: str) -> None:
        store = _store(shifts)
        store.write(path)
        with h5py.File(path, "a") as content:
            old = content[key][()]
            if old.dtype.kind == "S" and change not in ("empty", "one less", "one more", "deeper"):
                return
            del content[key]
            content[key] = CHANGES[change](old)
        found = attempt(lambda: Store.read(path), path)
        others = ("fractions", "huge", "negative", "NaN", "infinite", "float32")
        if found is not None and change not in others:
            same(found, store, texts=False)

    holds(check, examples, SHIFTS, st.sampled_from(sorted(CHANGES)), st.sampled_from(STORE_KEYS))


def _store(shifts: list[float]) -> Store:
    arrays, n = molecule(shifts), len(shifts)
    return Store(
        numbers=np.tile(arrays["z"], n),
        positions=arrays["R"].reshape(-1, 3),
        offsets=3 * np.arange(n + 1),
        cell=np.zeros((n, 3, 3)),
        pbc=np.zeros((n, 3), dtype=bool),
        charge=np.zeros(n, dtype=np.int64),
        group=np.full(n, "water"),
        role=np.full(n, ""),
        labels={"pbe": Labels(arrays["E"], arrays["F"].reshape(-1, 3).astype(np.float32))},
    )


def write_database(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.unlink(missing_ok=True)
    with ase.db.connect(path) as database:
        for x, e, f in zip(arrays["R"], arrays["E"], arrays["F"], strict=True):
            atoms = ase.Atoms(symbols(arrays["z"]), x)
            database.write(atoms, data={"forces": f}, key_value_pairs={"total": float(e)})


@tried(0.15)
@pytest.mark.parametrize("ending", ["db", "json"])
def test_changed_databases_are_read_or_refused(examples, ending, file) -> None:
    path = file(f"set.{ending}")
    arrays = molecule([0.0, 0.5])
    write_database(path, arrays)
    whole = path.read_bytes()
    options = {"energy": {"total": "pbe"}, "forces": {"forces": "pbe"}}
    columns = ("numbers", "positions", "cell", "pbc", "data", "key_value_pairs", "natoms")
    values = (None, 0, -1, 1.5, "x", "", "{}", "[]", b"", b"\x01", b"\x00" * 24, "\u2026", 2**40)

    def check(how: str, share: float, column: str, value: Any) -> None:
        path.write_bytes(whole)
        if how == "cut":
            path.write_bytes(whole[: round(share * len(whole))])
        elif ending == "json":
            content = json.loads(whole)
            row = content["1"]
            row[column] = value if not isinstance(value, bytes) else value.decode()
            path.write_text(json.dumps(content))
        else:
            with sqlite3.connect(path) as database:
                database.execute(f"update systems set {column}=? where id=1", (value,))
            database.close()
        found = attempt(lambda: import_data(path, **options, **OPTIONS), path)
        if found is not None and how == "cut":
            agree(found, arrays, "nothing", "R")

    holds(
        check,
        examples,
        st.sampled_from(["cut", "value", "value"]),
        st.floats(0, 0.99),
        st.sampled_from(columns),
        st.sampled_from(values),
    )


# Text: tables and configurations.


@tried()
def test_tables_are_read_or_refused(examples, file) -> None:
    path, base, n = file("t.csv"), file("base.h5"), 4
    _store([0.0] * n).write(base)

    def check(order: list[int], energies: list[float], damage: str, token: str, pick: int) -> None:
        rows = [
            ["index", "energy"],
            *([str(g), repr(e)] for g, e in zip(order, energies, strict=False)),
        ]
        at = 1 + pick % len(order)
        if damage == "cell":
            rows[at][1] = token
        elif damage == "index":
            rows[at][0] = token
        elif damage == "column twice":
            rows = [[*row, row[1] if k == 0 else "0.5"] for k, row in enumerate(rows)]
        elif damage == "short":
            rows[at].pop()
        elif damage == "long":
            rows[at].append("1.0")
        elif damage == "row twice":
            rows.append(rows[at])
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n" if pick % 2 else "\r\n").writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8-sig" if pick % 3 else "utf-8", newline="")
        found = attempt(lambda: import_data(path, fidelity="new", geometries=base, **OPTIONS), path)
        if damage == "nothing":
            expected = np.full(n, np.nan)
            expected[order] = energies[: len(order)]
            np.testing.assert_array_equal(found.labels["new"].energy, expected)
        elif damage != "cell" or token != "nan":
            assert found is None

    holds(
        check,
        examples,
        st.permutations(range(n)).flatmap(lambda p: st.integers(1, n).map(lambda k: p[:k])),
        st.lists(FINITE, min_size=n, max_size=n),
        st.sampled_from(["nothing", "cell", "index", "column twice", "short", "long", "row twice"]),
        st.sampled_from(BROKEN),
        st.integers(0, 11),
    )


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 10**20), st.floats(), TEXT),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORD, inner, max_size=2),
    max_leaves=3,
)


@tried()
def test_manifests_are_read_or_refused(examples, file) -> None:
    path = file("m.yaml")
    fields = st.sampled_from([*Manifest.model_fields, "nane", "levels"])
    odd = ("2024-13-45", "!!binary x", "!!int x", "!!timestamp x", "*a", "&a [*a]", "[" * 2000,
           "{a: 1, a: 2}", "1:30", "\t", "- -", "'", "%YAML 3", "\x00", "? ", "<<: 1")  # fmt: skip

    def check(content: dict[str, Any], raw: str, twice: bool) -> None:
        text = yaml.safe_dump(content, allow_unicode=True)
        if twice and content:
            text += yaml.safe_dump(dict([next(iter(content.items()))]), allow_unicode=True)
        path.write_text(f"{raw}\n{text}" if raw else text, encoding="utf-8")
        found = attempt(lambda: read_manifest(path), path)
        if twice and content:
            assert found is None
        elif found is not None and not raw:
            assert found == Manifest.model_validate(content)

    raws = st.one_of(st.just(""), st.sampled_from([f"name: {each}" for each in odd]))
    holds(check, examples, st.dictionaries(fields, VALUES, max_size=3), raws, st.booleans())
