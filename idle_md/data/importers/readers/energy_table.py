"""CSV tables of energies for geometries of another file."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idle_md.data.extxyz import read_extxyz
from idle_md.data.importers.contents import Contents, labelled
from idle_md.data.importers.request import Request
from idle_md.data.sources import load
from idle_md.data.store import Store
from idle_md.data.xyzline import real

_ENERGY, _INDEX, _NAME = "energy", "index", "name"


def read_energy_table(path: Path, request: Request) -> Contents:
    """Read energies, one geometry a row, and add them to the geometries of another file.

    The column ``index`` counts the geometries from 0, ``name`` is looked for in their column
    ``name``, or else among their groups; without either there is a row for every geometry, in
    order. An empty cell or NaN is a missing label. A store keeps the labels that it has; of an XYZ
    file only the geometries are taken.

    Raises
    ------
    FileNotFoundError
        There is no file of geometries.
    ValueError
        No such file was named, a column is missing, or a row is wrong or fits no geometry.
    """
    if request.geometries is None:
        raise ValueError(f"{path}: a table has no geometries; name their file with --geometries")
    columns = _columns(path)
    wanted = request.among(path, list(columns), [], (_ENERGY, ""))
    base = _geometries(request.geometries)
    taken = [name for name in wanted.names if name in base.labels]
    if taken:
        raise ValueError(
            f"{request.geometries}: has {taken[0]!r} labels; choose another --fidelity"
        )
    rows = _matched(path, columns, base)
    energies = {}
    for key, name in wanted.energy.items():
        energies[name] = np.full(base.n_geometries, np.nan)
        energies[name][rows] = _numbers(path, key, columns[key])
    return Contents(labelled(path, base, energies, {}), length_unit="angstrom", base=base)


def _geometries(path: Path) -> Store:
    return read_extxyz(path, []) if ".xyz" in path.name or ".extxyz" in path.name else load(path)


def _columns(path: Path) -> dict[str, list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV table ({error}); save it as UTF-8 text") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(
                f"{path}, row {number}: {len(row)} cells where the header has {len(header)}"
            )
    names = [key.strip() for key in header]
    twice = sorted({key for key in names if names.count(key) > 1})
    if twice:
        raise ValueError(f"{path}: the column {twice[0]!r} comes twice; leave the right one")
    cells = zip(*rows, strict=True) if rows else [[]] * len(header)
    return {key: list(column) for key, column in zip(names, cells, strict=True)}


def _numbers(path: Path, key: str, cells: list[str]) -> NDArray[np.float64]:
    numbers = []
    for row, cell in enumerate(cells, start=1):
        try:
            numbers.append(real(cell.strip()) if cell.strip() else np.nan)
        except ValueError:
            raise ValueError(f"{path}, row {row}: {key} is {cell!r}, not a number") from None
    return np.array(numbers)


def _matched(path: Path, columns: dict[str, list[str]], base: Store) -> NDArray[np.int64]:
    """The geometry of every row."""
    n_geometries = base.n_geometries
    if _INDEX in columns:
        indices = _numbers(path, _INDEX, columns[_INDEX])
        wrong = np.flatnonzero(~np.isin(indices, np.arange(n_geometries)))
        if len(wrong):
            raise ValueError(
                f"{path}, row {wrong[0] + 1}: index is {columns[_INDEX][wrong[0]]}, the geometries "
                f"are 0 to {n_geometries - 1}"
            )
        rows = indices.astype(np.int64)
    elif _NAME in columns:
        rows = _named(path, columns[_NAME], base)
    else:
        rows = np.arange(len(next(iter(columns.values()))))
        if len(rows) != n_geometries:
            raise ValueError(
                f"{path}: {len(rows)} rows for {n_geometries} geometries; add a column index, from "
                "0, or name"
            )
    unique, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        geometry = unique[counts > 1][0]
        raise ValueError(f"{path}: several rows are of geometry {geometry}; leave one of them")
    return rows


def _named(path: Path, names: list[str], base: Store) -> NDArray[np.int64]:
    known = base.info.get(_NAME, base.group).astype(np.str_)
    order = np.argsort(known, kind="stable")
    first = np.searchsorted(known[order], names)
    matches = np.searchsorted(known[order], names, side="right") - first
    wrong = np.flatnonzero(matches != 1)
    if len(wrong):
        row = wrong[0]
        found = "no geometry" if matches[row] == 0 else f"{matches[row]} geometries"
        raise ValueError(
            f"{path}, row {row + 1}: {found} named {names[row]!r}; match rows with a column index"
        )
    return order[first]
