"""The store's HDF5 format: flat arrays and a JSON manifest."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from idle_md.files import replacing

FORMAT = "idle_md store"
FORMAT_VERSION = 1
_CHUNK_ROWS = 1 << 16

Arrays = dict[str, NDArray[Any]]


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]], manifest: str) -> None:
    """Write named arrays and a manifest; ``path`` appears whole or not at all.

    The same arrays, in any order, give the same bytes.

    Parameters
    ----------
    path
        File to write.
    arrays
        Arrays by their path inside the file; text as numpy unicode arrays.
    manifest
        JSON text.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["manifest"] = manifest
        for name, array in sorted(arrays.items()):
            _write(file, name, array)


def _write(file: h5py.File, name: str, array: NDArray[Any]) -> None:
    data = np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
    chunks = (max(1, min(len(data), _CHUNK_ROWS)), *data.shape[1:])
    file.create_dataset(
        name,
        data=data,
        chunks=chunks,
        compression="gzip",
        compression_opts=9,
        shuffle=True,
    )


def read_arrays(path: str | Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays by their path inside the file, and the manifest.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, is no store, or is of another format version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            _check_format(file, path)
            manifest = json.loads(file.attrs["manifest"])
            return _arrays(file), manifest
    except PermissionError:
        raise
    except (OSError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path}: not a whole HDF5 store ({error}); it may be truncated: copy it again, or "
            "make it again with `idle-md data convert`"
        ) from error


def _check_format(file: h5py.File, path: str | Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise ValueError(
            f"{path}: an HDF5 file, but no idle_md store; make one from extxyz with "
            "`idle-md data convert`"
        )
    version = int(file.attrs["format_version"])
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path}: store format version {version}, this idle_md reads {FORMAT_VERSION}; "
            "make the file again with `idle-md data convert`"
        )


def _arrays(file: h5py.File) -> Arrays:
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return {name: _decoded(file[name][()]) for name in names}


def _decoded(data: NDArray[Any]) -> NDArray[Any]:
    return np.char.decode(data, "utf-8") if data.dtype.kind == "S" else data
