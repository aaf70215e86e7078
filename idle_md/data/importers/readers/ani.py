"""ANI-1x and ANI-1ccx: HDF5 files of many levels."""

from pathlib import Path

import h5py

from idle_md.data.importers.arrays import molecules, read
from idle_md.data.importers.contents import Block, Contents, stack
from idle_md.data.importers.request import Request, sanitised
from idle_md.fidelity import LevelOfTheory

_ENERGY, _FORCES = ".energy", ".forces"
_LEVELS = {
    "wb97x_dz": LevelOfTheory(method="wB97X", basis="6-31G*", program="Gaussian", version="09"),
    "wb97x_tz": LevelOfTheory(method="wB97X", basis="def2-TZVPP", program="ORCA"),
    "ccsd(t)_cbs": LevelOfTheory(method="CCSD(T)*", basis="CBS", program="ORCA"),
    "hf_dz": LevelOfTheory(method="HF", basis="cc-pVDZ", program="ORCA"),
    "hf_tz": LevelOfTheory(method="HF", basis="cc-pVTZ", program="ORCA"),
    "hf_qz": LevelOfTheory(method="HF", basis="cc-pVQZ", program="ORCA"),
}


def read_ani(path: Path, request: Request) -> Contents:
    """Read an ANI-1x file: hartree, hartree/angstrom and angstrom; NaN where not labelled.

    Each formula has ``atomic_numbers`` (A,), ``coordinates`` (N, A, 3), ``<level>.energy`` (N,)
    and ``<level>.forces`` (N, A, 3). All levels are read where none are asked for; correlation
    energies are no total energies and are not. Source: Smith et al., Sci. Data 7, 134 (2020).

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
        wanted = asked.among(path, list(energy), list(forces), (_ENERGY, _FORCES))
        blocks = [_block(path, name, group, wanted) for name, group in groups.items()]
    levels = {
        name: _LEVELS[level]
        for key, name in (*wanted.energy.items(), *wanted.forces.items())
        if (level := key.rpartition(".")[0]) in _LEVELS
    }
    return Contents(stack(path, blocks, levels), "hartree", "angstrom")


def _name(key: str) -> str:
    return sanitised(key.rpartition(".")[0])


def _block(path: Path, name: str, group: h5py.Group, wanted: Request) -> Block:
    numbers = read(path, group, "atomic_numbers", None)
    positions = read(path, group, "coordinates", None, len(numbers), 3)
    energies = {
        fidelity: read(path, group, key, len(positions))
        for key, fidelity in wanted.energy.items()
        if key in group
    }
    forces = {
        fidelity: read(path, group, key, *positions.shape)
        for key, fidelity in wanted.forces.items()
        if key in group
    }
    return Block(name, numbers, positions, energies, forces)
