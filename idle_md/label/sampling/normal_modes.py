"""Geometries displaced along normal modes."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms, units

from idle_md.label.calculator import LevelCalculator
from idle_md.label.vibrations import (
    HBAR,
    Array,
    displaced,
    force_changes,
    symmetric,
    vibrational_modes,
)

SOFTEST = 200.0  # 1/cm; softer modes are displaced no farther than this one


def normal_modes(
    starts: Sequence[Atoms],
    calculator: LevelCalculator,
    temperatures: Sequence[float],
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Yield geometries without end: all modes of a start displaced at once, at random.

    The displacements are those of classical harmonic oscillators at a temperature.
    """
    modes = [thermal_modes(atoms, calculator) for atoms in starts]
    frame = 0
    while True:
        for conformer, atoms in enumerate(starts):
            for temperature in temperatures:
                width = np.sqrt(units.kB * temperature)
                amplitudes = width * rng.standard_normal(len(modes[conformer]))
                moved = atoms.positions + np.tensordot(amplitudes, modes[conformer], axes=1)
                yield Atoms(
                    atoms.numbers,
                    moved,
                    info={
                        "sampling": "modes",
                        "conformer": conformer,
                        "temperature_K": temperature,
                        "frame": frame,
                    },
                )
        frame += 1


def thermal_modes(atoms: Atoms, calculator: LevelCalculator) -> Array:
    """Return displacements (M, N, 3) in angstrom per square root of eV of thermal energy.

    Translations and rotations are projected out.

    Raises
    ------
    LabelError
        If a displaced geometry has no label.
    """
    calculator = calculator.keeping_bonds(atoms)
    forces = (calculator.get_forces(each) for each in displaced(atoms))  # type: ignore[no-untyped-call]
    squares, moves = vibrational_modes(atoms, symmetric(force_changes(forces)))
    softest = (SOFTEST * units.invcm / HBAR) ** 2
    scaled: Array = moves / np.sqrt(np.maximum(np.abs(squares), softest))[:, None, None]
    return scaled
