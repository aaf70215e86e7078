"""Arrays of a file, checked; HDF5 files with a group per molecule."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from idle_md.data.xyzline import voigt


def numeric(place: str, key: str, array: ArrayLike, *shape: int | None) -> NDArray[Any]:
    """An array of numbers, checked against a shape in which None stands for any length.

    Raises
    ------
    ValueError
        It holds something else, or its shape is another.
    """
    found = np.asarray(array)
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{place}: {key} holds {found.dtype} values, not numbers; convert them")
    if len(found.shape) != len(shape) or any(
        wanted not in (None, length) for wanted, length in zip(shape, found.shape, strict=True)
    ):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{place}: {key} has shape {found.shape}, it must be ({wanted})")
    return found


@contextmanager
def molecules(path: Path) -> Iterator[dict[str, h5py.Group]]:
    """The groups of an HDF5 file that hold arrays by path, at any depth, each once.

    Raises
    ------
    ValueError
        The file is truncated or no HDF5 file, or holds no group.
    """
    try:
        with h5py.File(path, "r") as file:
            groups: dict[str, h5py.Group] = {}

            def keep(name: str, item: h5py.Group | h5py.Dataset) -> None:
                if isinstance(item, h5py.Group) and _has_arrays(item):
                    groups[name] = item

            file.visititems(keep)
            if not groups:
                raise ValueError(f"{path}: no groups with arrays; each molecule must have one")
            yield groups
    except PermissionError:
        raise
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{path}: not a whole HDF5 file ({error}); it may be truncated: copy it again"
        ) from error


def _has_arrays(group: h5py.Group) -> bool:
    return any(isinstance(group.get(key), h5py.Dataset) for key in group)


def read(path: Path, group: h5py.Group, key: str, *shape: int | None) -> NDArray[Any]:
    """One array of a molecule.

    Raises
    ------
    ValueError
        It is not there, is not of numbers or has another shape.
    """
    place = f"{path}, molecule {group.name.strip('/')}"
    if key not in group:
        raise ValueError(
            f"{place}: missing key {key!r}: the keys found are {', '.join(group) or 'none'}"
        )
    return numeric(place, key, group[key][()], *shape)


def stress_or_none(place: str, key: str, value: Any) -> NDArray[np.float64]:
    """Six numbers of a stress or virial, NaN where there is none.

    Raises
    ------
    ValueError
        See :func:`~idle_md.data.xyzline.voigt`.
    """
    found = np.squeeze(np.asarray(np.nan if value is None else value))
    try:
        return np.full(6, np.nan) if np.isnan(found).all() else voigt(found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {key}: {error}") from error
