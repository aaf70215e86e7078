"""Whatever ASE reads: trajectories, outputs of FHI-aims, ORCA, VASP and other programs."""

import warnings
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

_ENERGY, _FORCES = "energy", "forces"


def read_ase_io(path: Path, request: Request) -> Contents:
    """Read the frames of a file with ``ase.io.read``, which gives eV and angstrom.

    ``energy``, ``forces`` and ``stress`` are those of the calculator that ASE makes of the file.
    Groups are formulae.

    Raises
    ------
    ValueError
        ASE cannot read the file, there are no frames, or a key is missing or has a wrong shape.
    """
    images = _images(path)
    places = [f"{path}, frame {number}" for number in range(1, len(images) + 1)]
    values = [_values(atoms) for atoms in images]
    keys = list(dict.fromkeys(key for each in values for key in each))
    wanted = request.among(path, keys, keys, (_ENERGY, _FORCES), stress=keys)
    sizes = [len(atoms) for atoms in images]
    check_spins(places, [atoms.info for atoms in images], [atoms.numbers for atoms in images])
    energies = {
        name: np.array([_array(p, key, v) for p, v in zip(places, values, strict=True)])
        for key, name in wanted.energy.items()
    }
    forces = {
        name: np.concatenate(
            [_array(p, key, v, n, 3) for p, v, n in zip(places, values, sizes, strict=True)]
        )
        for key, name in wanted.forces.items()
    }
    stress = {
        name: np.array(
            [stress_or_none(p, key, v.get(key)) for p, v in zip(places, values, strict=True)]
        )
        for key, name in {**wanted.stress, **wanted.virial}.items()
    }
    bare = from_atoms(images, [atoms.get_chemical_formula() for atoms in images])
    return Contents(
        labelled(path, bare, energies, forces, stress=stress),
        "eV",
        "angstrom",
        virials=[*wanted.virial.values()],
        notes=[*lookalikes(keys, wanted), *boxless(bare, stress)],
    )


def _images(path: Path) -> list[Atoms]:
    from ase.io import read  # slow to import

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # of calculations that did not converge
            images: Any = read(path, index=":")
    except PermissionError:
        raise
    except Exception as error:  # its many parsers raise anything
        raise ValueError(
            f"{path}: ASE cannot read it ({type(error).__name__}: {error}); see whether it is "
            "whole, or write it as extended XYZ"
        ) from error
    if not images:
        raise ValueError(f"{path}: no frames; is it the right file?")
    found: list[Atoms] = images
    return found


def _values(atoms: Atoms) -> dict[str, Any]:
    results = {} if atoms.calc is None else atoms.calc.results
    return {key: value for key, value in results.items() if value is not None}


def _array(place: str, key: str, values: dict[str, Any], *shape: int) -> NDArray[Any]:
    return numeric(place, key, values.get(key, np.full(shape, np.nan)), *shape)
