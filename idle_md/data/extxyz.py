"""Extended XYZ files with labels of several levels of theory."""

import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.symbols import Symbols
from numpy.typing import NDArray

from idle_md.data.frames import Frame, read_frames
from idle_md.data.manifest import Manifest
from idle_md.data.states import check_spins
from idle_md.data.store import Labels, Store
from idle_md.data.xyzline import LABEL, quoted, read_voigt, real
from idle_md.elements import symbols
from idle_md.files import replacing
from idle_md.states import CHARGE, plain, total_charge

_ENERGY, _FORCES, _STRESS = "_energy", "_forces", "_stress"
_OWN_KEYS = {"Properties", "Lattice", "pbc", "charge", "molecule", "role"}
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)")
_REAL = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?")


def read_extxyz(path: str | Path, fidelities: Sequence[str] | None = None) -> Store:
    """Read an extended XYZ file, compressed where its name ends in ``.gz``.

    The labels of level ``f`` are the keys ``f_energy`` (eV) and ``f_stress`` of the comment line
    (eV/angstrom^3, six or nine numbers, in ASE's order and sign) and the columns ``f_forces``
    (eV/angstrom); a frame without them has no such label. ``molecule`` names the
    group (the chemical formula where no frame has one), ``role`` the split, ``charge`` (also
    ``total_charge`` and the like) the total charge. A spin (``multiplicity``, ``unpaired``) must be
    one that so many electrons can have; it and all other keys of the comment line are kept in
    ``info``, other columns are not.

    Parameters
    ----------
    path
        File to read.
    fidelities
        Levels to read; all that are found when not given.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A requested level, or any level, has no label in a file of more than geometries, labels are
        said to be in another unit than these, or a frame is wrong. The
        message names file, frame and remedy.
    """
    frames = list(read_frames(path))
    if not frames:
        raise ValueError(f"{path}: no frames; is it an extended XYZ file?")
    found = _label_keys(frames)
    wanted = _wanted(path, frames, found, fidelities)
    if wanted:
        _check_units(path, frames)
    n_atoms = [len(frame.numbers) for frame in frames]
    check_spins([f.place for f in frames], [f.pairs for f in frames], [f.numbers for f in frames])
    offsets = np.concatenate([[0], np.cumsum(n_atoms)])
    return Store(
        numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.int64),
        positions=np.concatenate([frame.reals["pos"] for frame in frames]),
        offsets=offsets,
        cell=np.array([_cell(frame) for frame in frames]),
        pbc=np.array([_pbc(frame) for frame in frames]),
        charge=np.array([total_charge(frame.pairs) for frame in frames]),
        group=_groups(frames),
        role=np.array([frame.pairs.get("role", "") for frame in frames]),
        labels={name: _labels(frames, name) for name in wanted},
        info=_info(frames, _OWN_KEYS | found.keys()),
        manifest=Manifest(description=_description(frames)),
    )


def _label_keys(frames: list[Frame]) -> dict[str, str]:
    """The level of every label key, in order of appearance."""
    keys = dict.fromkeys(key for frame in frames for key in (*frame.pairs, *frame.reals))
    return {
        key: key.rpartition("_")[0]
        for key in keys
        if re.fullmatch(rf".+({_ENERGY}|{_FORCES}|{_STRESS})", key)
    }


def _wanted(
    path: str | Path, frames: list[Frame], found: dict[str, str], fidelities: Sequence[str] | None
) -> list[str]:
    levels = list(dict.fromkeys(found.values()))
    missing = [name for name in fidelities or [] if name not in levels]
    if not missing and (levels or fidelities is not None):
        return levels if fidelities is None else list(fidelities)
    name = missing[0] if missing else "<fidelity>"
    keys = dict.fromkeys(key for frame in frames for key in (*frame.pairs, *frame.reals))
    others = [key for key in keys if key not in _OWN_KEYS | {"pos", "comment"}]
    if fidelities is None and not any(LABEL.search(key) for key in others):
        return []  # plain geometries
    raise ValueError(
        f"{path}: missing label key: no frame has {name}{_ENERGY} or {name}{_FORCES}; the keys "
        f"found are {', '.join(others) or 'none'}; name each label <fidelity>{_ENERGY} (in the "
        f"comment line) or <fidelity>{_FORCES} (a column)"
    )


def stated_unit(path: str | Path, frames: list[Frame], of: Sequence[str]) -> str | None:
    """The unit that frames state for something, such as ``energy-unit=hartree``; None if none do.

    Raises
    ------
    ValueError
        Two frames state two.
    """
    names = {f"{what}{ending}" for what in of for ending in ("unit", "units")}
    found = {v: f.place for f in frames for k, v in f.pairs.items() if plain(k) in names}
    if len(found) > 1:
        one, two, *_ = found.items()
        raise ValueError(f"{two[1]}: {two[0]} where {one[1]} states {one[0]}; split {path} by unit")
    return next(iter(found), None)


def _check_units(path: str | Path, frames: list[Frame]) -> None:
    for what, usual in (
        (("energy", "energies"), {"ev"}),
        (("force", "forces"), {"ev/a", "ev/ang", "ev/angstrom", "ev/å"}),
        (("length", "position", "positions", "distance"), {"a", "ang", "angstrom", "å"}),
        (("stress",), {"ev/a^3", "ev/ang^3", "ev/angstrom^3", "ev/å^3", "ev/å³"}),
    ):
        unit = stated_unit(path, frames, what)
        if unit is not None and unit.casefold() not in usual:
            raise ValueError(
                f"{path}: states {unit} as its unit of {what[0]}; labels named <fidelity>_energy "
                "are in eV, eV/angstrom and eV/angstrom^3: `idle-md data import` converts others"
            )


def _cell(frame: Frame) -> NDArray[np.float64]:
    try:
        vectors = [real(number) for number in frame.pairs.get("Lattice", "0 " * 9).split()]
        return np.array(vectors).reshape(3, 3)
    except ValueError:
        raise ValueError(f"{frame.place}: Lattice must be nine numbers in angstrom") from None


def _pbc(frame: Frame) -> list[bool]:
    default = "T T T" if "Lattice" in frame.pairs else "F F F"
    flags = frame.pairs.get("pbc", default).split()
    if len(flags) != 3 or not set(flags) <= {"T", "F", "1", "0"}:
        raise ValueError(f"{frame.place}: pbc must be three of T and F")
    if "Lattice" not in frame.pairs and set(flags) & {"T", "1"}:
        raise ValueError(f"{frame.place}: periodic (pbc), but there is no Lattice; give one")
    return [flag in "T1" for flag in flags]


def _description(frames: list[Frame]) -> str:
    """Which keys gave the charges, where it is not the usual one."""
    keys = {key for frame in frames for key in frame.pairs if plain(key) in CHARGE}
    return f"charges are those of {', '.join(sorted(keys))}" if keys - {"charge"} else ""


def _groups(frames: list[Frame]) -> NDArray[np.str_]:
    if not any("molecule" in frame.pairs for frame in frames):
        return np.array([Symbols(frame.numbers).get_chemical_formula() for frame in frames])
    for frame in frames:
        if not frame.pairs.get("molecule"):
            raise ValueError(
                f"{frame.place}: no molecule, but other frames have one; name the molecule of "
                "every frame or of none"
            )
    return np.array([frame.pairs["molecule"] for frame in frames])


def _labels(frames: list[Frame], name: str) -> Labels:
    return Labels(
        energy=np.array([_energy(frame, name + _ENERGY) for frame in frames]),
        forces=np.concatenate([_forces(frame, name + _FORCES) for frame in frames]),
        stress=np.array([_stress(frame, name + _STRESS) for frame in frames]),
    )


def _energy(frame: Frame, key: str) -> float:
    text = frame.pairs.get(key)
    if text is None:
        return np.nan
    try:
        energy = real(text)
    except ValueError:
        energy = np.nan
    if not np.isfinite(energy):
        raise ValueError(
            f"{frame.place}: {key} is {text!r}, not a finite number; leave the key out where "
            "there is no label"
        )
    return energy


def _forces(frame: Frame, key: str) -> NDArray[np.float32]:
    shape = (len(frame.numbers), 3)
    forces = frame.reals.get(key)
    if key in frame.pairs:
        raise ValueError(f"{frame.place}: {key} is in the comment line; make it a column, R:3")
    if forces is None:
        return np.full(shape, np.nan, dtype=np.float32)
    if forces.shape != shape:
        raise ValueError(
            f"{frame.place}: {key} has shape {forces.shape}, the frame needs {shape}; describe "
            f"the column as {key}:R:3"
        )
    if not np.isfinite(forces).all():
        raise ValueError(
            f"{frame.place}: {key} holds NaN or infinity; leave the columns out where there is "
            "no label"
        )
    return forces.astype(np.float32)


def _stress(frame: Frame, key: str) -> NDArray[np.float64]:
    if key in frame.reals:
        raise ValueError(f"{frame.place}: {key} is a column; a stress is a key of the comment line")
    if key not in frame.pairs:
        return np.full(6, np.nan)
    if not all(_pbc(frame)):
        raise ValueError(
            f"{frame.place}: {key} without a box that is periodic in all three directions; leave "
            "it out, or give Lattice and pbc"
        )
    try:
        return read_voigt(frame.pairs[key])
    except ValueError as error:
        raise ValueError(f"{frame.place}: {key}: {error}") from error


def _info(frames: list[Frame], taken: set[str]) -> dict[str, NDArray[Any]]:
    keys = dict.fromkeys(key for frame in frames for key in frame.pairs if key not in taken)
    keys = {key: None for key in keys if plain(key) not in CHARGE}
    return {key: _column([frame.pairs.get(key, "") for frame in frames]) for key in keys}


def _column(texts: list[str]) -> NDArray[Any]:
    """Integers or reals where all values are, missing ones being NaN; text otherwise."""
    present = [text for text in texts if text]
    if len(present) == len(texts) and all(_INTEGER.fullmatch(text) for text in texts):
        return np.array(texts).astype(np.int64)
    if all(_REAL.fullmatch(text) for text in present):
        return np.array([float(text) if text else np.nan for text in texts])
    return np.array(texts)


def write_extxyz(store: Store, path: str | Path) -> None:
    """Write a store to an extended XYZ file, compressed where its name ends in ``.gz``.

    Every number is written with as many digits as it takes to read the same number again; labels
    that are missing are left out. The file appears whole or not at all.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        A name or a text holds a line break.
    """
    columns = _atom_columns(store)
    text = "".join(_frame_text(store, index, columns) for index in range(store.n_geometries))
    data = text.encode("utf-8")
    with replacing(path) as temporary:
        # no time stamp in the archive: the same store gives the same bytes
        gzipped = str(path).endswith(".gz")
        temporary.write_bytes(gzip.compress(data, mtime=0) if gzipped else data)


def _atom_columns(store: Store) -> dict[str, list[str]]:
    """Text of every atom's symbol, position and forces, by property."""
    columns = {"species:S:1": symbols(store.numbers), "pos:R:3": _rows(store.positions)}
    for name, labels in store.labels.items():
        columns[f"{name}{_FORCES}:R:3"] = _rows(labels.forces)
    return columns


def _rows(array: NDArray[Any]) -> list[str]:
    return [" ".join(row) for row in array.astype(np.str_).tolist()]


def _frame_text(store: Store, index: int, columns: dict[str, list[str]]) -> str:
    first, last = int(store.offsets[index]), int(store.offsets[index + 1])
    mine = [
        name
        for name in columns
        if not name.endswith(f"{_FORCES}:R:3") or columns[name][first] != "nan nan nan"
    ]
    pairs = {"Properties": ":".join(mine), **_pairs(store, index)}
    comment = " ".join(f"{key}={quoted(value)}" for key, value in pairs.items())
    rows = zip(*(columns[name][first:last] for name in mine), strict=True)
    return "\n".join([str(last - first), comment, *map(" ".join, rows)]) + "\n"


def _pairs(store: Store, index: int) -> dict[str, str]:
    pairs: dict[str, Any] = {"molecule": store.group[index]}
    if store.role[index]:
        pairs["role"] = store.role[index]
    if store.charge[index]:
        pairs["charge"] = store.charge[index]
    values = {key: column[index] for key, column in store.info.items()}
    for name, labels in store.labels.items():
        values[f"{name}{_ENERGY}"] = labels.energy[index]
        if np.isfinite(labels.stress[index, 0]):
            values[f"{name}{_STRESS}"] = " ".join(labels.stress[index].astype(np.str_))
    pairs |= {key: value for key, value in values.items() if str(value) not in ("", "nan")}
    if store.cell[index].any():
        pairs["Lattice"] = " ".join(store.cell[index].ravel().astype(np.str_))
    pairs["pbc"] = " ".join("T" if periodic else "F" for periodic in store.pbc[index])
    return {key: str(value) for key, value in pairs.items()}
