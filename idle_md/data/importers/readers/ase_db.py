"""ASE databases, those of SchNetPack among them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idle_md.data.importers.arrays import numeric, stress_or_none
from idle_md.data.importers.contents import Contents, boxless, labelled
from idle_md.data.importers.request import Request, lookalikes
from idle_md.data.joining import from_atoms
from idle_md.data.states import check_spins
from idle_md.data.store import KINDS
from idle_md.states import CHARGE, SPIN, plain

_ENERGY, _FORCES = "energy", "forces"


def read_ase(path: Path, request: Request) -> Contents:
    """Read a database of ``ase.db`` (SQLite ``.db`` or ``.json``): eV and angstrom.

    SchNetPack's databases say in their metadata what other units they are in.

    ``energy``, ``forces`` and ``stress`` are those of the stored calculator; other keys, also of
    virials, are looked for among the key-value pairs and the data of the rows. ``molecule`` names
    the group, ``charge`` the total charge; the other key-value pairs become columns of ``info``.

    Raises
    ------
    ValueError
        The file is damaged or empty, or a key is missing or has a wrong shape.
    """
    rows, every, about = _rows(path)
    values = [_values(row) for row in rows]
    keys = list(dict.fromkeys(key for each in values for key in each))
    wanted = request.among(path, keys, keys, (_ENERGY, _FORCES), stress=keys)
    images = []
    for row, atoms in zip(rows, every, strict=True):
        states = {
            key: np.ravel(row.data[key])[0] for key in row.data if plain(key) in CHARGE | SPIN
        }
        atoms.info = {
            key: value
            for key, value in {**states, **row.key_value_pairs}.items()
            if key not in {"molecule", *wanted.energy}
        }
        images.append(atoms)
    groups = [str(row.key_value_pairs.get("molecule", row.formula)) for row in rows]
    places = [f"{path}, row {row.id}" for row in rows]
    check_spins(places, [atoms.info for atoms in images], [row.numbers for row in rows])
    energies = {
        name: np.array([_energy(p, key, v) for p, v in zip(places, values, strict=True)])
        for key, name in wanted.energy.items()
    }
    forces = {
        name: np.concatenate(
            [_forces(p, key, v, row.natoms) for p, v, row in zip(places, values, rows, strict=True)]
        )
        for key, name in wanted.forces.items()
    }
    stress = {
        name: np.array(
            [stress_or_none(p, key, v.get(key)) for p, v in zip(places, values, strict=True)]
        )
        for key, name in {**wanted.stress, **wanted.virial}.items()
    }
    units, store = about.get("_property_unit_dict", {}), from_atoms(images, groups)
    return Contents(
        labelled(path, store, energies, forces, stress=stress),
        _unit(path, units, wanted.energy, "energy") or "eV",
        about.get("_distance_unit", "angstrom"),
        force_unit=_unit(path, units, wanted.forces, "force"),
        stress_unit=_unit(path, units, wanted.stress, "stress"),
        virials=[*wanted.virial.values()],
        notes=[*lookalikes(keys, wanted), *boxless(store, stress)],
    )


def _unit(path: Path, units: dict[str, str], keys: Iterable[str], what: str) -> str | None:
    """The unit of some keys, where the metadata have it."""
    found = {units[key] for key in keys if key in units}
    if len(found) > 1:
        raise ValueError(
            f"{path}: units of {what} are {' and '.join(sorted(found))}; import one after the other"
        )
    return next(iter(found), None)


def _rows(path: Path) -> tuple[list[Any], list[Atoms], dict[str, Any]]:
    """Rows, their atoms and the metadata, with all that is decoded late."""
    from ase.db import connect  # slow to import

    try:
        database = connect(path)
        rows, about = list(database.select()), dict(database.metadata)
        images = [row.toatoms() for row in rows]
        for row in rows:
            row.data, row.formula  # noqa: B018
    except PermissionError:
        raise
    except Exception as error:  # of a damaged database anything is raised
        raise ValueError(
            f"{path}: not a whole ASE database ({error}); it may be truncated: copy it again"
        ) from error
    if not rows:
        raise ValueError(f"{path}: no rows; is it the right database?")
    return rows, images, about


def _values(row: Any) -> dict[str, Any]:
    calculated = {key: row.get(key) for key in KINDS if row.get(key) is not None}
    return {**row.data, **row.key_value_pairs, **calculated}


def _energy(place: str, key: str, values: dict[str, Any]) -> float:
    value = np.asarray(values.get(key, np.nan))
    return float(numeric(place, key, value.reshape(()) if value.size == 1 else value))


def _forces(place: str, key: str, values: dict[str, Any], n_atoms: int) -> NDArray[Any]:
    missing = np.full((n_atoms, 3), np.nan)
    return numeric(place, key, values.get(key, missing), n_atoms, 3)
