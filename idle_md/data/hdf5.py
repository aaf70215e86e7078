"""The store's HDF5 format: flat arrays and a JSON manifest."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from idle_md.files import replacing

FORMAT = "idle_md store"
FORMAT_VERSION = 1
_CHUNK_BYTES = 1 << 17
_COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": True}

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
    with creating(path) as file:
        file.describe(manifest)
        file.append(arrays)


class NewFile:
    """A file of the format that is being written; made by ``creating``.

    Parameters
    ----------
    file
        An empty HDF5 file.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        # An open dataset keeps its last chunk in memory; a closed one would compress it every time.
        self._datasets: dict[str, h5py.Dataset] = {}
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION

    @property
    def is_described(self) -> bool:
        """Whether there is a manifest."""
        return "manifest" in self._file.attrs

    def describe(self, manifest: str) -> None:
        """Write the manifest, JSON text."""
        self._file.attrs["manifest"] = manifest

    def append(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Append rows to the datasets; one that is not there yet is made.

        Datasets take the type that holds old and new values: the longer text, reals for integers.

        Raises
        ------
        ValueError
            An array is text where the dataset is numbers, or the other way round; nothing is
            written.
        """
        encoded = {name: _encoded(array) for name, array in sorted(arrays.items())}
        for name, data in encoded.items():
            known = self._datasets.get(name, data)
            if (known.dtype.kind == "S") != (data.dtype.kind == "S"):
                raise ValueError(f"{name} is text in one part of the store and numbers in another")
        for name, data in encoded.items():
            dataset = self._holding(name, data)
            first = len(dataset)
            dataset.resize(first + len(data), axis=0)
            dataset[first:] = data

    def _holding(self, name: str, data: NDArray[Any]) -> h5py.Dataset:
        """The dataset of a name, in a type that can hold ``data``."""
        if name not in self._datasets:
            return self._make(name, data.dtype, data.shape[1:])
        old = self._datasets[name]
        dtype = np.promote_types(old.dtype, data.dtype)
        if dtype == old.dtype:
            return old
        del self._file[name]  # the rows stay as long as the handle
        new = self._make(name, dtype, old.shape[1:])
        new.resize(len(old), axis=0)
        for first in range(0, len(old), old.chunks[0]):
            rows = slice(first, first + old.chunks[0])
            new[rows] = old[rows]
        return new

    def _make(self, name: str, dtype: Any, shape: tuple[int, ...]) -> h5py.Dataset:
        row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape))
        self._datasets[name] = self._file.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            dtype=dtype,
            chunks=(max(1, _CHUNK_BYTES // row_bytes), *shape),
            **_COMPRESSION,
        )
        return self._datasets[name]


@contextmanager
def creating(path: str | Path) -> Iterator[NewFile]:
    """A new file, to be given a manifest and arrays.

    ``path`` appears when the block ends well; otherwise it is left as it was.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        The file was given nothing.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        new = NewFile(file)
        yield new
        if not new.is_described:
            raise ValueError(f"{path}: nothing to write; append a store, be it empty")


def _encoded(array: NDArray[Any]) -> NDArray[Any]:
    return np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array


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
    with _naming_damage(path), h5py.File(path, "r") as file:
        _check_format(file, path)
        manifest = json.loads(file.attrs["manifest"])
        return {name: _rows(dataset) for name, dataset in _datasets(file).items()}, manifest


@contextmanager
def _naming_damage(path: str | Path) -> Iterator[None]:
    """Turn what HDF5 raises while a damaged file is read into an error that names the file."""
    try:
        yield
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


def missing_array(path: str | Path, name: str) -> ValueError:
    """The error for a file that lacks an array."""
    return ValueError(
        f"{path}: the array {name!r} is missing; make the file again with `idle-md data convert`"
    )


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Datasets by their path inside the file."""
    found: dict[str, h5py.Dataset] = {}
    file.visititems(
        lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None
    )
    return found


def _rows(dataset: h5py.Dataset) -> NDArray[Any]:
    """All of a dataset, text as numpy unicode."""
    data: NDArray[Any] = np.asarray(dataset[()])
    return np.char.decode(data, "utf-8") if data.dtype.kind == "S" else data
