"""DeePMD-kit and dpdata: folders of one system each, as arrays or text."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.data.importers.arrays import numeric, stress_or_none
from idle_md.data.importers.contents import Block, Contents, boxless, labelled, stack
from idle_md.data.importers.request import Request, lookalikes
from idle_md.data.joining import join
from idle_md.data.store import Store
from idle_md.elements import atomic_numbers

_TYPES, _NAMES, _MIXED = "type.raw", "type_map.raw", "real_atom_types"
_SPECIES = (_TYPES, _NAMES)
_ENERGY, _FORCES = "energy", "force"


def is_deepmd(path: Path) -> bool:
    """Whether there are systems in a folder, at any depth."""
    return next(path.rglob(_TYPES), None) is not None


def read_deepmd(path: Path, request: Request) -> Contents:
    """Read systems of dpdata (``deepmd/npy``, ``deepmd/raw``) in a folder: eV and angstrom.

    A system has the types of its A atoms (``type.raw``), their symbols (``type_map.raw``) and, in
    files of its own or in folders ``set.*``, ``coord`` (N, 3A), ``energy`` (N,), ``force``
    (N, 3A), ``box`` (N, 9) and ``virial`` (N, 9), all as ``.npy`` or as text (``.raw``). It is
    periodic unless there is ``nopbc``. Source: github.com/deepmodeling/dpdata.

    Raises
    ------
    ValueError
        A file is missing or damaged, or has a wrong shape.
    """
    systems = sorted(each.parent for each in path.rglob(_TYPES))
    keys = list(dict.fromkeys(file.stem for each in systems for file in _files(each)))
    wanted = request.among(path, keys, keys, (_ENERGY, _FORCES), stress=keys)
    if _MIXED in keys:
        raise ValueError(
            f"{path}: systems of mixed types are not read; write them as deepmd/npy with dpdata"
        )
    stores, notes = zip(*(_system(path, each, wanted) for each in systems), strict=True)
    return Contents(
        join(stores),
        "eV",
        "angstrom",
        virials=[*wanted.virial.values()],
        notes=[*lookalikes(keys, wanted), *chain(*notes)],
    )


def _system(path: Path, system: Path, wanted: Request) -> tuple[Store, list[str]]:
    """Return the geometries and labels of a system, and what is to be said of it."""
    numbers = _numbers(system)
    positions = _array(system, "coord", len(numbers), 3)
    n_frames = len(positions)
    energies = {
        name: numeric(str(system), key, _array(system, key)[:, 0], n_frames)
        for key, name in wanted.energy.items()
        if _parts(system, key)
    }
    forces = {
        name: numeric(
            str(system), key, _array(system, key, len(numbers), 3), *positions.shape
        ).reshape(-1, 3)
        for key, name in wanted.forces.items()
        if _parts(system, key)
    }
    stress = {
        name: np.array([stress_or_none(str(system), key, row) for row in _array(system, key, 9)])
        for key, name in {**wanted.stress, **wanted.virial}.items()
        if _parts(system, key)
    }
    name = "" if system == path else str(system.relative_to(path))
    store = stack(system, [Block(name, numbers, positions, {}, {})], {})
    if not (system / "nopbc").exists():
        cell = numeric(str(system), "box", _array(system, "box", 3, 3), n_frames, 3, 3)
        store = replace(store, cell=cell.astype(np.float64), pbc=np.ones((n_frames, 3), np.bool_))
    found = labelled(system, store, energies, forces, stress=stress)
    return found, [f"{system}: {note}" for note in boxless(store, stress)]


def _numbers(system: Path) -> NDArray[np.int64]:
    names = system / _NAMES
    if not names.is_file():
        raise ValueError(f"{system}: no {_NAMES}; write the symbol of every type there, in order")
    try:
        elements = dict(enumerate(atomic_numbers(names.read_text().split())))
        kinds = [int(kind) for kind in (system / _TYPES).read_text().split()]
        return np.array([elements[kind] for kind in kinds])
    except (ValueError, KeyError) as error:
        raise ValueError(f"{system}: {_TYPES} and {_NAMES} do not fit: {error}") from error


def _files(system: Path) -> list[Path]:
    folders = [system, *sorted(system.glob("set.*"))]
    found = [file for each in folders for file in sorted(each.glob("*.npy"))]
    return found or [each for each in sorted(system.glob("*.raw")) if each.name not in _SPECIES]


def _parts(system: Path, key: str) -> list[Path]:
    return [file for file in _files(system) if file.stem == key]


def _array(system: Path, key: str, *shape: int) -> NDArray[Any]:
    """All frames of a quantity, each of a shape, in the order of their sets."""
    parts = _parts(system, key)
    if not parts:
        raise ValueError(f"{system}: {key}.npy or {key}.raw is missing; write the system again")
    try:
        rows = [
            np.load(part) if part.suffix == ".npy" else np.loadtxt(part, ndmin=2) for part in parts
        ]
        return np.concatenate([each.reshape(len(each), *(shape or (-1,))) for each in rows])
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"{parts[0]}: no {key} of {system.name} ({error}); copy it again"
        ) from error
