"""openQDC: folders of memory-mapped arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.data.importers.contents import Contents, geometries, labelled
from idle_md.data.importers.request import Request
from idle_md.data.store import Store

_INPUTS, _RANGES = "atomic_inputs", "position_idx_range"
_ENERGIES, _FORCES = "energies", "forces"


def read_openqdc(path: Path, request: Request) -> Contents:
    """Read a folder of openQDC's cache: units and methods are those of its data-set class.

    ``atomic_inputs.mmap`` (A, 5) holds atomic number, formal charge and position as float32,
    ``position_idx_range.mmap`` (N, 2) first and last atom as int32, ``energies.mmap`` (N, levels)
    float64, ``forces.mmap`` (A, 3, levels with forces) float32. Keys are column numbers, from 0.
    ``props.pkl`` (SMILES, subset) is a pickle, which can run code when opened, and is not read;
    groups are therefore formulae. Source: github.com/valence-labs/OpenQDC, ``datasets/base.py``.

    Raises
    ------
    ValueError
        A file is missing, cut short or of another size, or there are several levels and no
        mapping.
    """
    store = _geometries(path)
    energies = _mapped(path, _ENERGIES, np.float64, None, store.n_geometries)
    forces = np.empty((len(store.numbers), 3, 0), np.float32)
    if (path / f"{_FORCES}.mmap").is_file():
        forces = _mapped(path, _FORCES, np.float32, None, forces.shape[0] * 3)
        forces = forces.reshape(len(store.numbers), 3, -1)
    columns = [[str(column) for column in range(array.shape[-1])] for array in (energies, forces)]
    if len(columns[0]) > 1 and not request.names:
        raise ValueError(
            f"{path}: {len(columns[0])} levels of energies and {len(columns[1])} of forces without "
            "names; name those wanted with --energy COLUMN=FIDELITY and --forces COLUMN=FIDELITY"
        )
    wanted = request.among(path, columns[0], columns[1], ("0", "0"))
    energy = {name: energies[:, int(key)] for key, name in wanted.energy.items()}
    force = {name: forces[:, :, int(key)] for key, name in wanted.forces.items()}
    return Contents(labelled(path, store, energy, force))


def _geometries(path: Path) -> Store:
    inputs = _mapped(path, _INPUTS, np.float32, 5)
    ranges = _mapped(path, _RANGES, np.int32, 2)
    starts = np.concatenate([[0], ranges[:-1, 1]])
    if (ranges[:, 0] != starts).any() or ranges[-1, 1] != len(inputs):
        raise ValueError(
            f"{path / _RANGES}.mmap: the ranges do not cover the {len(inputs)} atoms of "
            f"{_INPUTS}.mmap one after the other; is one of the files cut short?"
        )
    charge = np.add.reduceat(inputs[:, 1], ranges[:, 0], dtype=np.float64)
    return geometries(
        path,
        inputs[:, 0].astype(np.int64),
        inputs[:, 2:],
        np.diff(ranges, axis=1)[:, 0],
        charge=np.rint(charge).astype(np.int64),
    )


def _mapped(
    path: Path, name: str, dtype: Any, width: int | None, length: int | None = None
) -> NDArray[Any]:
    """An array of two dimensions, one of which is known."""
    file = path / f"{name}.mmap"
    if not file.is_file():
        raise ValueError(f"{path}: {file.name} is missing; give a folder of openQDC's cache")
    values, row = file.stat().st_size / np.dtype(dtype).itemsize, width or length or 0
    if values == 0 or row == 0 or values % row:
        raise ValueError(
            f"{file}: {values:g} values of {np.dtype(dtype)}, not a multiple of {row}; the file is "
            "cut short or of another type: copy it again"
        )
    shape = (length or int(values) // row, width or int(values) // row)
    return np.memmap(file, dtype=dtype, mode="r", shape=shape)
