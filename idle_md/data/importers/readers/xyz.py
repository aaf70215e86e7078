"""Extended XYZ files whose labels are named in any way."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.data.extxyz import read_extxyz
from idle_md.data.frames import Frame, read_frames
from idle_md.data.importers.arrays import numeric
from idle_md.data.importers.contents import Contents, labelled
from idle_md.data.importers.request import Request


def read_xyz(path: Path, request: Request) -> Contents:
    """Read energies from keys of the comment line and forces from columns: lengths in angstrom.

    ``energy`` and ``forces`` are the labels of the one level where no keys are asked for. An
    absent key or NaN is a missing label. Everything else is as in ``read_extxyz``.

    Raises
    ------
    ValueError
        A frame is wrong, or a key is missing or has a wrong shape.
    """
    bare = read_extxyz(path, [])
    frames = list(read_frames(path))
    energy = _keys(frame.pairs for frame in frames)
    forces = _keys(frame.reals for frame in frames)
    wanted = request.among(path, energy, forces, ("energy", "forces"))
    info = {key: column for key, column in bare.info.items() if key not in wanted.energy}
    store = labelled(
        path,
        replace(bare, info=info),
        {name: np.array([_energy(f, key) for f in frames]) for key, name in wanted.energy.items()},
        {
            name: np.concatenate([_forces(frame, key) for frame in frames])
            for key, name in wanted.forces.items()
        },
    )
    return Contents(store, length_unit="angstrom")


def _keys(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """All that might be labels, in order of appearance."""
    found = dict.fromkeys(key for mapping in mappings for key in mapping)
    return [key for key in found if key not in {"Properties", "Lattice", "pbc", "pos"}]


def _energy(frame: Frame, key: str) -> float:
    try:
        return float(frame.pairs.get(key, "nan"))
    except ValueError:
        raise ValueError(
            f"{frame.place}: {key} is {frame.pairs[key]!r}, not a number; leave the key out where "
            "there is no label"
        ) from None


def _forces(frame: Frame, key: str) -> NDArray[np.float64]:
    missing = np.full((len(frame.numbers), 3), np.nan)
    return numeric(frame.place, key, frame.reals.get(key, missing), len(missing), 3)
