"""What an importer hands over: a store in the units of the file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.symbols import Symbols
from numpy.typing import NDArray

from idle_md.data.manifest import Manifest
from idle_md.data.store import Labels, Store
from idle_md.elements import symbols
from idle_md.fidelity import LevelOfTheory

Arrays = Mapping[str, NDArray[Any]]
Levels = Mapping[str, LevelOfTheory]


@dataclass
class Contents:
    """What was read, before units are checked and converted.

    Attributes
    ----------
    store
        Geometries and labels, as yet in the units of the file.
    energy_unit, length_unit
        Units that the file states or its format prescribes.
    force_unit
        Where the file states it; the quotient of the others otherwise.
    stress_unit
        Likewise.
    virials
        Fidelities whose stresses are virials as yet, in the unit of the energies.
    certain
        False where the unit of the energies is but the habit of the format.
    base
        Store, in eV and angstrom, that the labels are to be added to.
    notes
        What was not imported and could have been meant to be.
    """

    store: Store
    energy_unit: str | None = None
    length_unit: str | None = None
    certain: bool = True
    base: Store | None = None
    force_unit: str | None = None
    stress_unit: str | None = None
    virials: Collection[str] = ()
    notes: Sequence[str] = ()


@dataclass
class Block:
    """N geometries of one molecule of A atoms.

    Attributes
    ----------
    name
        Name of the molecule; its formula where empty.
    numbers
        Atomic numbers, shape (A,).
    positions
        Shape (N, A, 3).
    energies, forces
        By fidelity, of shapes (N,) and (N, A, 3).
    charge
        Total charge.
    info
        Further values of the molecule.
    """

    name: str
    numbers: NDArray[Any]
    positions: NDArray[Any]
    energies: Arrays
    forces: Arrays
    charge: int = 0
    info: Mapping[str, str] = field(default_factory=dict)


def stack(path: Path, blocks: Sequence[Block], levels: Levels) -> Store:
    """One store of all blocks; a level that a block lacks is missing there.

    Raises
    ------
    ValueError
        There is no geometry, or the arrays make no store.
    """
    blocks = [block for block in blocks if len(block.positions)]
    counts = [len(block.positions) for block in blocks]
    _check_some(path, sum(counts))
    names = [block.name for block in blocks]
    keys = dict.fromkeys(key for block in blocks for key in block.info)
    store = geometries(
        path,
        np.concatenate([np.tile(block.numbers, len(block.positions)) for block in blocks]),
        np.concatenate([block.positions.reshape(-1, 3) for block in blocks]),
        n_atoms=np.repeat([len(block.numbers) for block in blocks], counts),
        group=np.repeat(names, counts) if all(names) else None,
        charge=np.repeat([block.charge for block in blocks], counts),
        info={key: np.repeat([b.info.get(key, "") for b in blocks], counts) for key in keys},
    )
    energies = dict.fromkeys(name for block in blocks for name in block.energies)
    forces = dict.fromkeys(name for block in blocks for name in block.forces)
    return labelled(
        path,
        store,
        {name: _stacked([b.energies.get(name, _missing(b)) for b in blocks]) for name in energies},
        {
            name: _stacked([b.forces.get(name, _missing(b, 3)) for b in blocks]).reshape(-1, 3)
            for name in forces
        },
        levels,
    )


def _check_some(path: Path, n_geometries: int) -> None:
    if n_geometries == 0:
        raise ValueError(f"{path}: no geometries; is the file empty or cut short?")


def _missing(block: Block, width: int = 0) -> NDArray[np.float32]:
    """Labels of a level that a block does not have: energies, or forces of a width."""
    return np.full(block.positions.shape if width else len(block.positions), np.nan, np.float32)


def _stacked(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([part.reshape(-1) for part in parts])


def geometries(
    path: Path,
    numbers: NDArray[Any],
    positions: NDArray[Any],
    n_atoms: NDArray[np.integer[Any]],
    group: NDArray[np.str_] | None = None,
    charge: NDArray[np.integer[Any]] | None = None,
    info: Arrays | None = None,
) -> Store:
    """A store without labels or periodicity; groups are formulae where none are given.

    Parameters
    ----------
    path
        File they are from, for messages.
    numbers, positions
        Of all atoms, shapes (A,) and (A, 3).
    n_atoms
        Number of atoms of every geometry, shape (G,).
    group, charge, info
        As those of a store.

    Raises
    ------
    ValueError
        The arrays do not fit, an atomic number belongs to no element, or a position is no number.
    """
    n_geometries = len(n_atoms)
    _check_some(path, n_geometries)
    offsets = np.concatenate([[0], np.cumsum(n_atoms, dtype=np.int64)])
    try:
        if not (np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()):
            raise ValueError("an atomic number is no integer")
        symbols(np.unique(numbers))
        return Store(
            numbers=numbers.astype(np.int64),
            positions=_finite(positions.astype(np.float64), offsets),
            offsets=offsets,
            cell=np.zeros((n_geometries, 3, 3)),
            pbc=np.zeros((n_geometries, 3), dtype=np.bool_),
            charge=np.zeros(n_geometries, np.int64) if charge is None else charge.astype(np.int64),
            group=formulae(numbers, offsets) if group is None else group,
            role=np.full(n_geometries, ""),
            labels={},
            info=dict(info or {}),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _finite(positions: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    atoms = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(atoms):
        geometry = np.searchsorted(offsets, atoms[0], side="right") - 1
        raise ValueError(f"a position of geometry {geometry} is no finite number; leave it out")
    return positions


def formulae(numbers: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.str_]:
    """Chemical formula of every geometry, shape (G,)."""
    elements = np.unique(numbers)
    counts = [np.add.reduceat(numbers == z, offsets[:-1], dtype=np.int64) for z in elements]
    kinds, which = np.unique(np.stack(counts, axis=1), axis=0, return_inverse=True)
    names = [Symbols(np.repeat(elements, kind)).get_chemical_formula() for kind in kinds]
    return np.array(names)[which.reshape(-1)]


def labelled(
    path: Path,
    store: Store,
    energies: Arrays,
    forces: Arrays,
    levels: Levels | None = None,
    stress: Arrays | None = None,
) -> Store:
    """A store with labels, as yet in the units of the file.

    Parameters
    ----------
    path
        File they are from, for messages.
    store
        Geometries.
    energies, forces
        By fidelity, of shapes (G,) and (A, 3); NaN where missing.
    levels
        Level of theory of each, where known.
    stress
        Stresses or virials by fidelity, of shape (G, 6); those of geometries that are not periodic
        in all three directions are left out.

    Raises
    ------
    ValueError
        The labels do not fit the geometries, or one is infinite.
    """
    labels = {}
    stress, has_box = stress or {}, np.isfinite(store.volume)[:, None]
    for name in dict.fromkeys([*energies, *forces, *stress]):
        nothing = Labels.empty(store.n_geometries, len(store.numbers))
        labels[name] = Labels(
            np.asarray(energies.get(name, nothing.energy), np.float64),
            np.asarray(forces.get(name, nothing.forces), np.float32),
            np.where(has_box, stress.get(name, nothing.stress), np.nan),
        )
    for name, each in labels.items():
        infinite = np.isinf(each.energy), np.isinf(each.forces).any(axis=1)
        for what, of in (("energy of geometry", infinite[0]), ("force on atom", infinite[1])):
            if of.any():
                raise ValueError(
                    f"{path}: {name} {what} {of.argmax()} is infinite; use NaN where there is no "
                    "label"
                )
    try:
        manifest = Manifest(levels=dict(levels or {}), description=store.manifest.description)
        return replace(store, labels=labels, manifest=manifest)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def boxless(store: Store, stress: Arrays) -> list[str]:
    """What a user is told of stresses (G, 6) by fidelity that have no box, and are left out."""
    has_box = np.isfinite(store.volume)
    counts = {k: int(np.sum(np.isfinite(v[:, 0]) & ~has_box)) for k, v in stress.items()}
    return [
        f"{count} {name} stresses are left out, whose geometries are not periodic in all three "
        "directions"
        for name, count in counts.items()
        if count
    ]
