"""NumPy archives: sGDML and MD17, rMD17, PhysNet."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.data.importers.arrays import numeric
from idle_md.data.importers.contents import Block, Contents, geometries, labelled, stack
from idle_md.data.importers.request import Request
from idle_md.fidelity import LevelOfTheory

Archive = dict[str, NDArray[Any]]


def read_npz(path: Path, request: Request) -> Contents:
    """Read one molecule (MD17, rMD17, sGDML) or many, padded to one length (PhysNet).

    MD17 and sGDML have ``R`` (N, A, 3), ``z`` (A,), ``E`` (N,) or (N, 1) and ``F`` (N, A, 3), rMD17
    calls them ``coords``, ``nuclear_charges``, ``energies`` and ``forces``: kcal/mol and angstrom,
    unless ``e_unit`` and ``r_unit`` say otherwise. PhysNet has ``N`` (G,), ``Z`` (G, A), ``R``
    (G, A, 3), ``E``, ``F`` and the charge ``Q``: eV and angstrom. Pickled objects are never loaded.
    Sources: Chmiela et al., Sci. Adv. 3, e1603015 (2017); Christensen and von Lilienfeld, Mach.
    Learn.: Sci. Technol. 1, 045018 (2020); Unke and Meuwly, J. Chem. Theory Comput. 15, 3678
    (2019).

    Raises
    ------
    ValueError
        The file is damaged or of another layout, or an array is missing, has a wrong shape or
        holds objects.
    """
    archive = _arrays(path)
    if {"N", "Z", "R"} <= archive.keys():
        return _physnet(path, archive, request)
    if {"coords", "nuclear_charges"} <= archive.keys():
        return _molecule(
            path, archive, request, ("nuclear_charges", "coords", "energies", "forces")
        )
    if {"R", "z"} <= archive.keys():
        return _molecule(path, archive, request, ("z", "R", "E", "F"))
    raise ValueError(
        f"{path}: no layout that is known: the keys found are {', '.join(archive) or 'none'}, but "
        "MD17 has R and z, rMD17 coords and nuclear_charges, PhysNet N, Z and R; rename the arrays"
    )


def _arrays(path: Path) -> Archive:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: _array(archive, key) for key in archive.files}
    except PermissionError:
        raise
    except ValueError as error:
        raise ValueError(
            f"{path}: no npz archive of plain arrays ({error}); save it anew"
        ) from error
    except Exception as error:  # of a damaged archive anything is raised
        raise ValueError(
            f"{path}: not a whole npz archive ({error}); it may be truncated: copy it again"
        ) from error


def _array(archive: Any, key: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[key])
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        return np.empty(0, dtype=object)  # named when it is asked for


def _molecule(
    path: Path, archive: Archive, request: Request, keys: tuple[str, str, str, str]
) -> Contents:
    if "lattice" in archive:
        raise ValueError(f"{path}: periodic; lattices are read from extended XYZ: convert it first")
    place, theory = str(path), _text(archive, "theory")
    theory = "" if theory == "unknown" else theory
    wanted = request.among(path, list(archive), list(archive), keys[2:], theory)
    numbers = numeric(place, keys[0], archive[keys[0]], None)
    positions = numeric(place, keys[1], archive[keys[1]], None, len(numbers), 3)
    energies = {
        name: numeric(place, key, _flat(archive[key]), len(positions))
        for key, name in wanted.energy.items()
    }
    forces = {
        name: numeric(place, key, archive[key], *positions.shape)
        for key, name in wanted.forces.items()
    }
    name = _text(archive, "name")
    block = Block(name, numbers, positions, energies, forces)
    levels = {each: LevelOfTheory(method=theory) for each in wanted.names} if theory else {}
    store = stack(path, [block], levels)
    stated = _text(archive, "e_unit")
    return Contents(
        store, stated or "kcal/mol", _text(archive, "r_unit") or "angstrom", certain=bool(stated)
    )


def _flat(energies: NDArray[Any]) -> NDArray[Any]:
    return energies[:, 0] if energies.ndim == 2 and energies.shape[1] == 1 else energies


def _physnet(path: Path, archive: Archive, request: Request) -> Contents:
    place = str(path)
    wanted = request.among(path, list(archive), list(archive), ("E", "F"))
    padded = numeric(place, "Z", archive["Z"], None, None)
    n_atoms = numeric(place, "N", archive["N"], len(padded))
    shape = (*padded.shape, 3)
    positions = numeric(place, "R", archive["R"], *shape)
    own = np.arange(padded.shape[1]) < n_atoms[:, None]
    if (own.sum(axis=1) != n_atoms).any():
        raise ValueError(f"{path}: N counts more atoms than Z has columns, {padded.shape[1]}")
    charge = numeric(place, "Q", archive["Q"], len(padded)) if "Q" in archive else None
    store = geometries(
        path,
        padded[own],
        positions[own],
        n_atoms,
        charge=None if charge is None else np.rint(charge).astype(np.int64),
    )
    energies = {
        name: numeric(place, key, _flat(archive[key]), len(padded))
        for key, name in wanted.energy.items()
    }
    forces = {
        name: numeric(place, key, archive[key], *shape)[own] for key, name in wanted.forces.items()
    }
    return Contents(labelled(path, store, energies, forces), "eV", "angstrom", certain=False)


def _text(archive: Archive, key: str) -> str:
    value = archive[key] if key in archive else np.empty(0)
    if value.dtype.kind not in "SU" or value.size != 1:
        return ""
    text = value.reshape(-1)[0]
    return text.decode() if isinstance(text, bytes) else str(text)
