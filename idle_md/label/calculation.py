"""What a worker does: calculate geometries one after the other, into its journal."""

import resource
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idle_md.bonds import CLOSE, closest_pair
from idle_md.label.journal import Journal, Record
from idle_md.label.levels import find_level
from idle_md.label.programs.base import LabelError, Level, Result

Geometry = tuple[str, NDArray[np.int64], NDArray[np.float64], NDArray[Any], NDArray[Any], int, int]
"""Identity, atomic numbers, positions, cell, periodicity, charge and unpaired electrons."""

_journals: dict[str, Journal] = {}
_level = lru_cache(maxsize=None)(find_level)


def calculate_chunk(
    level: str, folder: str, chunk: list[Geometry]
) -> tuple[str, list[bool], float]:
    """Calculate geometries in a worker, into its journal.

    Returns
    -------
    tuple
        Name of the journal, which of the geometries have a label now, and CPU seconds.
    """
    if folder not in _journals:
        _journals[folder] = Journal(Path(folder))
    journal, outcomes, total = _journals[folder], [], 0.0
    calculator = _level(level)
    for name, numbers, positions, cell, pbc, charge, unpaired in chunk:
        atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=pbc)
        begun = cpu_seconds()
        energy, forces, reason = None, None, ""
        try:
            result = calculate(calculator, atoms, charge, unpaired)
            energy, forces = result.energy, result.forces
        except LabelError as error:
            reason = str(error)
        seconds = cpu_seconds() - begun
        total += seconds
        journal.append(Record(name, energy, forces, reason, seconds, _program(calculator)))
        outcomes.append(energy is not None)
    journal.sync()
    return journal.path.name, outcomes, total


def close_journal(folder: str) -> None:
    """Let go of this worker's journal, so that it can be merged and removed."""
    if folder in _journals:
        _journals.pop(folder).close()


def calculate(level: Level, atoms: Atoms, charge: int = 0, unpaired: int = 0) -> Result:
    """Calculate one geometry after the checks that all levels share.

    Raises
    ------
    LabelError
        If there can be no label, whatever the reason.
    """
    try:
        _check_geometry(atoms, charge, unpaired)
        result = level.calculate(atoms, charge, unpaired)
    except LabelError:
        raise
    except Exception as error:  # a program's own troubles are a failed label, not the end
        raise LabelError(f"{type(error).__name__}: {error}") from error
    finite = np.isfinite(result.energy)
    if not finite or (result.forces is not None and not np.isfinite(result.forces).all()):
        raise LabelError("the energy or a force is not a finite number")
    return result


def _check_geometry(atoms: Atoms, charge: int, unpaired: int) -> None:
    """Refuse atoms on top of each other and electrons that cannot be unpaired so."""
    if not np.isfinite(atoms.positions).all():
        raise LabelError("a position is not a finite number")
    first, second, distance = closest_pair(atoms)
    if distance < CLOSE:
        raise LabelError(
            f"atoms {first} and {second} are {distance:.2f} angstrom apart, less than {CLOSE}"
        )
    electrons = int(atoms.numbers.sum()) - charge
    if (electrons - unpaired) % 2 or not 0 <= unpaired <= electrons:
        what = "odd" if electrons % 2 else "even"
        raise LabelError(
            f"{what} number of electrons, {electrons}, with {unpaired} unpaired: is the charge "
            f"{charge} right? Otherwise give the number of unpaired electrons by --spin and "
            "--retry-failed"
        )


def cpu_seconds() -> float:
    """Return what this process and those that it started have used."""
    mine = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime


def _program(level: Level) -> str:
    theory = level.theory
    return " ".join(filter(None, (theory.program, theory.version)))
