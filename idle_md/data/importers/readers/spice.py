"""SPICE: HDF5 files of conformations by molecule."""

import re
from pathlib import Path

import h5py
import numpy as np

from idle_md.data.importers.arrays import molecules, read
from idle_md.data.importers.contents import Block, Contents, stack
from idle_md.data.importers.request import Request
from idle_md.fidelity import LevelOfTheory

_ENERGY, _GRADIENT = "dft_total_energy", "dft_total_gradient"
_LEVEL = LevelOfTheory(method="wB97M-D3(BJ)", basis="def2-TZVPPD", program="Psi4")
_ION = re.compile(r"\[[^]+-]*(\++|-+)(\d*)(?::\d+)?]")


def read_spice(path: Path, request: Request) -> Contents:
    """Read a SPICE file: hartree and bohr unless the attribute ``units`` says otherwise.

    Each molecule has ``smiles``, ``subset``, ``atomic_numbers`` (A,), ``conformations``
    (N, A, 3), ``dft_total_energy`` (N,) and ``dft_total_gradient`` (N, A, 3); forces are minus
    the gradient, charges those of the SMILES. Molecules without conformations (there is one in
    SPICE 2) are left out. Source: Eastman et al., Sci. Data 10, 11 (2023).

    Raises
    ------
    ValueError
        The file is damaged, or a key is missing or has a wrong shape.
    """
    with molecules(path) as groups:
        keys = list(dict.fromkeys(key for group in groups.values() for key in group))
        wanted = request.among(path, keys, keys, (_ENERGY, _GRADIENT), "wb97m_d3bj")
        blocks = [_block(path, name, group, wanted) for name, group in groups.items()]
        first = next(iter(groups.values()))
        energy_unit = _unit(first, _ENERGY, "hartree")
        length_unit = _unit(first, "conformations", "bohr")
    known = {_ENERGY, _GRADIENT}
    levels = {
        name: _LEVEL
        for key, name in (*wanted.energy.items(), *wanted.forces.items())
        if key in known
    }
    return Contents(stack(path, blocks, levels), energy_unit, length_unit)


def _block(path: Path, name: str, group: h5py.Group, wanted: Request) -> Block:
    numbers = read(path, group, "atomic_numbers", None)
    texts = {key: _text(group, key) for key in ("smiles", "subset") if key in group}
    if "conformations" in group and group["conformations"].size == 0:
        return Block(name, numbers, np.empty((0, len(numbers), 3)), {}, {})
    positions = read(path, group, "conformations", None, len(numbers), 3)
    return Block(
        name,
        numbers,
        positions,
        {each: read(path, group, key, len(positions)) for key, each in wanted.energy.items()},
        {each: -read(path, group, key, *positions.shape) for key, each in wanted.forces.items()},
        charge=_charge(texts.get("smiles", "")),
        info=texts,
    )


def _unit(group: h5py.Group, key: str, usual: str) -> str:
    return str(group[key].attrs.get("units", usual)) if key in group else usual


def _text(group: h5py.Group, key: str) -> str:
    return str(np.atleast_1d(group[key].asstr()[()])[0])


def _charge(smiles: str) -> int:
    """Sum of the formal charges, ``[NH3+:1]``, ``[O-]``, ``[Ca+2]`` or ``[Ca++]``."""
    ions = _ION.findall(smiles)
    return sum((1 if s[0] == "+" else -1) * (int(n) if n else len(s)) for s, n in ions)
