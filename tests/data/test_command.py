"""`idle-md data`: what is printed is what is in the file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from idle_md.cli.data import app
from idle_md.data import load, save

PACKAGED = Path(__file__).parents[2] / "idle_md" / "data"


def run(*arguments: object) -> str:
    environment = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(app, [str(each) for each in arguments], env=environment)
    if result.exception is not None:
        raise result.exception
    return result.output


def cells(output: str, first: str) -> list[list[str]]:
    """Cells of all table rows that begin with a word."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines()]
    return [row for row in rows if row and row[0] == first]


def test_info_on_the_shipped_set() -> None:
    output = run("info", "chno-mini")
    train = ["17,886", "17,886", "17,886", "2,202", "2,202", "283", "0", "6,096", "6,096"]
    assert ["train", *train] in cells(output, "train")
    assert ["ood", "480", "480", "480", "57", "57", "0", "0", "0", "0"] in cells(output, "ood")
    assert cells(output, "elements") == [["elements", "H C N O"]]
    level, values = cells(output, "wb97x")
    assert level == ["wb97x", "wB97X/6-31G*", "PySCF 2.14.0", "7", "17,073"]
    assert values == [
        "wb97x",
        "-11,890.21 to -1,101.33",
        "-1,286.46 to -220.27",
        "0.00 to 16.92",
        "1.036",
    ]


def test_info_as_json() -> None:
    summary = json.loads(run("info", "chno-mini", "--json"))
    assert summary["n_geometries"] == 18546
    assert summary["n_groups"] == 262
    assert summary["elements"] == ["H", "C", "N", "O"]
    high = summary["fidelities"]["wb97x"]
    assert high["n_energies"] == high["n_forces"] == {"train": 2202, "test": 180, "ood": 57}
    assert high["level"]["basis"] == "6-31G*"
    assert high["cpu_seconds"] == 7 * (2202 + 180 + 57)


def test_conversion_there_and_back(store, assert_equal_stores, tmp_path) -> None:
    save(store, tmp_path / "a.h5")
    run("convert", tmp_path / "a.h5", tmp_path / "b.extxyz.gz")
    output = run("convert", tmp_path / "b.extxyz.gz", tmp_path / "c.h5")
    assert_equal_stores(load(tmp_path / "c.h5"), store)
    energies, forces = store.has_energy("low").sum(), store.has_forces("low").sum()
    assert output.rstrip().startswith(f"{tmp_path / 'c.h5'}: 60 geometries; ")
    assert f"low {energies} E + {forces} F" in output


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_shipped_file_is_what_conversion_makes(every, assert_equal_stores, tmp_path) -> None:
    packaged = load("chno-mini")
    part = packaged.select(range(0, packaged.n_geometries, every))
    save(part, tmp_path / "a.extxyz")
    manifest = PACKAGED / "chno-mini.yaml"
    run("convert", tmp_path / "a.extxyz", tmp_path / "b.h5", "--manifest", manifest)
    again = load(tmp_path / "b.h5")
    assert again.manifest == packaged.manifest
    assert_equal_stores(again, part)
    assert (PACKAGED / "chno-mini.h5").stat().st_size < 8e6


def test_one_level_is_converted(store, tmp_path) -> None:
    save(store, tmp_path / "a.extxyz")
    run("convert", tmp_path / "a.extxyz", tmp_path / "b.h5", "--fidelity", "high")
    assert load(tmp_path / "b.h5").fidelities == ["high"]
    with pytest.raises(ValueError, match="missing label key: no frame has mid_energy"):
        run("convert", tmp_path / "a.extxyz", tmp_path / "b.h5", "--fidelity", "mid")


def test_refused_conversion_writes_nothing(store, tmp_path) -> None:
    save(store, tmp_path / "a.extxyz")
    with pytest.raises(ValueError, match=r"b\.json: unknown kind of file"):
        run("convert", tmp_path / "a.extxyz", tmp_path / "b.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.extxyz"]


def test_join_names_what_is_nearly_the_same(store, tmp_path) -> None:
    """An atom is elsewhere by 0.003 angstrom; nothing is said of copies."""
    store = store.select(np.flatnonzero(~store.pbc.any(axis=1) & (store.n_atoms > 3)))
    save(store, tmp_path / "a.h5")
    other = replace(store, positions=store.positions.copy())
    other.positions[store.offsets[:-1]] += 0.002
    save(other, tmp_path / "b.h5")
    output = run("join", tmp_path / "a.h5", tmp_path / "b.h5", "-o", tmp_path / "c.h5")
    assert f"{store.n_geometries} geometries are within 0.01 angstrom of one of another" in output
    assert load(tmp_path / "c.h5").n_geometries == 2 * store.n_geometries
    assert "note" not in run("join", tmp_path / "a.h5", tmp_path / "a.h5", "-o", tmp_path / "d.h5")
    assert load(tmp_path / "d.h5").n_geometries == store.n_geometries
