"""ANI-1x, ANI-1ccx, Transition1x, QM7-X: HDF5 files of many levels, groups at any depth."""

from pathlib import Path

import h5py

from idle_md.data.importers.arrays import molecules, read
from idle_md.data.importers.contents import Block, Contents, stack
from idle_md.data.importers.request import Request, lookalikes, sanitised
from idle_md.fidelity import LevelOfTheory

_ENERGY, _FORCES = ".energy", ".forces"
_NUMBERS = ("atomic_numbers", "atNUM", "numbers", "species", "z")
_POSITIONS = ("coordinates", "positions", "atXYZ", "R")
_LEVELS = {
    "wb97x_dz": LevelOfTheory(method="wB97X", basis="6-31G*", program="Gaussian", version="09"),
    "wb97x_tz": LevelOfTheory(method="wB97X", basis="def2-TZVPP", program="ORCA"),
    "ccsd(t)_cbs": LevelOfTheory(method="CCSD(T)*", basis="CBS", program="ORCA"),
    "hf_dz": LevelOfTheory(method="HF", basis="cc-pVDZ", program="ORCA"),
    "hf_tz": LevelOfTheory(method="HF", basis="cc-pVTZ", program="ORCA"),
    "hf_qz": LevelOfTheory(method="HF", basis="cc-pVQZ", program="ORCA"),
}


def read_ani(path: Path, request: Request) -> Contents:
    """Read an ANI-1x file, or one whose groups are deeper; NaN where not labelled.

    Units of ANI-1x are hartree and angstrom, those of others are told by the numbers. Each formula
    has ``atomic_numbers`` (A,), ``coordinates`` (N, A, 3), ``<level>.energy`` (N,) and
    ``<level>.forces`` (N, A, 3). All levels are read where none are asked for; correlation
    energies are no total energies and are not. Transition1x has ``positions`` for ``coordinates``,
    QM7-X ``atNUM`` and ``atXYZ`` (A, 3) of one geometry a group, whose keys have to be named.
    Source: Smith et al., Sci. Data 7, 134 (2020).

    Raises
    ------
    ValueError
        The file is damaged, or a key is missing or has a wrong shape.
    """
    with molecules(path) as groups:
        keys = list(dict.fromkeys(key for group in groups.values() for key in group))
        energy = {key: _name(key) for key in keys if key.endswith(_ENERGY)}
        forces = {key: _name(key) for key in keys if key.endswith(_FORCES)}
        asked = request if request.names else Request(energy=energy, forces=forces)
        every = keys if request.names or not energy else []
        there = [*energy, *every], [*forces, *every]
        wanted = asked.among(path, *there, (_ENERGY, _FORCES))
        blocks = [_block(path, name, group, wanted) for name, group in groups.items()]
        prescribed = "hartree" if "coordinates" in next(iter(groups.values())) else None
    levels = {
        name: _LEVELS[level]
        for key, name in (*wanted.energy.items(), *wanted.forces.items())
        if (level := key.rpartition(".")[0]) in _LEVELS
    }
    return Contents(
        stack(path, blocks, levels),
        prescribed,
        "angstrom",
        notes=lookalikes([*energy, *forces], wanted) if request.names else (),
    )


def _name(key: str) -> str:
    return sanitised(key.rpartition(".")[0])


def _block(path: Path, name: str, group: h5py.Group, wanted: Request) -> Block:
    numbers = read(path, group, _present(group, _NUMBERS), None)
    positions_key, n_atoms = _present(group, _POSITIONS), len(numbers)
    single = positions_key in group and group[positions_key].ndim == 2
    shape = (n_atoms, 3) if single else (None, n_atoms, 3)
    positions = read(path, group, positions_key, *shape).reshape(-1, n_atoms, 3)
    forces_shape = shape if single else positions.shape
    return Block(
        name.rpartition("/")[0] if single else name,
        numbers,
        positions,
        {
            fidelity: read(path, group, key, len(positions))
            for key, fidelity in wanted.energy.items()
            if key in group
        },
        {
            fidelity: read(path, group, key, *forces_shape).reshape(positions.shape)
            for key, fidelity in wanted.forces.items()
            if key in group
        },
    )


def _present(group: h5py.Group, names: tuple[str, ...]) -> str:
    """The first of some names that a group has; the usual one where it has none."""
    return next((name for name in names if name in group), names[0])
