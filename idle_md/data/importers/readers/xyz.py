"""Extended XYZ files whose labels are named in any way."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.data.extxyz import read_extxyz, stated_unit
from idle_md.data.frames import Frame, read_frames
from idle_md.data.importers.arrays import numeric
from idle_md.data.importers.contents import Contents, boxless, labelled
from idle_md.data.importers.readers.plain_xyz import add_forces, comment_energies, forces_beside
from idle_md.data.importers.request import Request, lookalikes, sanitised
from idle_md.data.xyzline import read_voigt, real
from idle_md.states import plain

_LEVEL_KEYS = {"head", "level", "fidelity", "theory", "leveloftheory", "functional"}


def read_xyz(path: Path, request: Request) -> Contents:
    """Read energies and stresses from keys of the comment line, forces from columns, in angstrom.

    ``energy``, ``forces`` and ``stress``, or else ``virial`` or ``virials``, are the labels of the
    one level where no keys are asked for. Stresses are six or nine numbers, in ASE's order. An
    absent key or NaN is a missing label. Units are those that the frames state (``energy-unit``,
    ``force-unit``, ``length-unit``, ``stress-unit``), if they do. A level key names the level of
    every frame, so that one key holds the energies of all levels. The key ``comment`` stands for
    the energies in the comments of plain XYZ, and a key of forces may be another XYZ file, which
    has them in place of the positions, as CP2K writes it. Everything else is as in
    ``read_extxyz``.

    Raises
    ------
    ValueError
        A frame is wrong, or a key is missing or has a wrong shape.
    """
    bare = read_extxyz(path, [])
    frames = list(read_frames(path))
    comments = comment_energies(path, frames, request)
    for key in request.forces:
        if Path(key).is_file():
            add_forces(path, frames, key)
    energy = _keys(frame.pairs for frame in frames)
    forces = _keys(frame.reals for frame in frames)
    levels = _levels(path, frames, energy, request)
    wanted = _wanted(path, energy, forces, request)
    taken = {*wanted.energy, *wanted.stress, *wanted.virial}
    info = {key: column for key, column in bare.info.items() if key not in taken}
    energies: dict[str, NDArray[Any]] = {}
    gradients: dict[str, NDArray[Any]] = {}
    stresses: dict[str, NDArray[Any]] = {}
    for level in dict.fromkeys(levels):
        shown = [each == level for each in levels]
        for key, name in wanted.energy.items():
            values = [_energy(f, key) if s else np.nan for f, s in zip(frames, shown, strict=True)]
            energies[level or name] = np.array(values)
        for key, name in wanted.forces.items():
            parts = [
                _forces(f, key) if s else np.full((len(f.numbers), 3), np.nan)
                for f, s in zip(frames, shown, strict=True)
            ]
            gradients[level or name] = np.concatenate(parts)
        for key, name in {**wanted.stress, **wanted.virial}.items():
            rows = [
                _stress(f, key) if s else np.full(6, np.nan)
                for f, s in zip(frames, shown, strict=True)
            ]
            stresses[level or name] = np.array(rows)
    return Contents(
        labelled(path, replace(bare, info=info), energies, gradients, stress=stresses),
        stated_unit(path, frames, ("energy", "energies")),
        stated_unit(path, frames, ("length", "position", "positions", "distance")) or "angstrom",
        force_unit=stated_unit(path, frames, ("force", "forces")),
        stress_unit=stated_unit(path, frames, ("stress",)),
        virials=[*levels, *wanted.virial.values()] if wanted.virial else (),
        notes=[
            *lookalikes([*energy, *forces], wanted),
            *comments,
            *forces_beside(path, wanted),
            *boxless(bare, stresses),
        ],
    )


def _levels(path: Path, frames: list[Frame], keys: list[str], request: Request) -> list[str]:
    """The level that each frame names, sanitised; empty where a key of the labels does."""
    if request.level_key in (None, "none"):
        several = {key: {frame.pairs.get(key) for frame in frames} for key in keys}
        for key, values in several.items():
            told = sorted(filter(None, values))
            if plain(key) in _LEVEL_KEYS and len(told) > 1 and not request.level_key:
                raise ValueError(
                    f"{path}: {key} has the values {', '.join(told[:5])}: if they are levels of "
                    f"theory, give --level-key {key}, otherwise --level-key none"
                )
        return [""] * len(frames)
    for frame in frames:
        if not sanitised(frame.pairs.get(str(request.level_key), "")):
            raise ValueError(f"{frame.place}: no {request.level_key}, which names the level")
    return [sanitised(frame.pairs[str(request.level_key)]) for frame in frames]


def _wanted(path: Path, energy: list[str], forces: list[str], request: Request) -> Request:
    """Keys of the labels; where frames name their level one of energies and one of forces do."""
    if request.level_key in (None, "none"):
        return request.among(path, energy, forces, ("energy", "forces"), stress=energy)
    one = request if request.names else replace(request, fidelity="level")
    if not request.names and "energy" not in energy:
        likely = [
            [k for k in keys if w in k.lower()]
            for keys, w in ((energy, "energy"), (forces, "force"))
        ]
        if len(likely[0]) == 1 and len(likely[1]) < 2:
            one = Request(
                energy={likely[0][0]: "level"},
                forces=dict.fromkeys(likely[1], "level"),
            )
    return one.among(path, energy, forces, ("energy", "forces"), stress=energy)


def _keys(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """All that might be labels, in order of appearance."""
    found = dict.fromkeys(key for mapping in mappings for key in mapping)
    return [key for key in found if key not in {"Properties", "Lattice", "pbc", "pos"}]


def _energy(frame: Frame, key: str) -> float:
    try:
        return real(frame.pairs.get(key, "nan"))
    except ValueError:
        raise ValueError(
            f"{frame.place}: {key} is {frame.pairs[key]!r}, not a number; leave the key out where "
            "there is no label"
        ) from None


def _forces(frame: Frame, key: str) -> NDArray[np.float64]:
    missing = np.full((len(frame.numbers), 3), np.nan)
    return numeric(frame.place, key, frame.reals.get(key, missing), len(missing), 3)


def _stress(frame: Frame, key: str) -> NDArray[np.float64]:
    text = frame.pairs.get(key, "nan")
    try:
        return np.full(6, np.nan) if set(text.casefold().split()) == {"nan"} else read_voigt(text)
    except ValueError as error:
        raise ValueError(f"{frame.place}: {key}: {error}") from error
