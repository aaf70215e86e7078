"""Geometries displaced along normal modes."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from idle_md.label.calculator import LevelCalculator

STEP = 0.01  # angstrom
SOFTEST = 200.0  # 1/cm; softer modes are displaced no farther than this one
HBAR = units._hbar / units._e * units.s  # eV times ASE's unit of time

Modes = NDArray[np.float64]


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


def thermal_modes(atoms: Atoms, calculator: LevelCalculator) -> Modes:
    """Return displacements (M, N, 3) in angstrom per square root of eV of thermal energy.

    Translations and rotations are projected out.

    Raises
    ------
    LabelError
        If a displaced geometry has no label.
    """
    root_mass = np.sqrt(np.repeat(atoms.get_masses(), 3))
    hessian = _hessian(atoms, calculator) / np.outer(root_mass, root_mass)
    internal = _internal_basis(atoms, root_mass)
    squares, modes = np.linalg.eigh(internal.T @ hessian @ internal)
    softest = (SOFTEST * units.invcm / HBAR) ** 2
    moves = internal @ modes / root_mass[:, None] / np.sqrt(np.maximum(np.abs(squares), softest))
    shaped: Modes = moves.T.reshape(-1, len(atoms), 3)
    return shaped


def _hessian(atoms: Atoms, calculator: LevelCalculator) -> Modes:
    rows = []
    calculator = calculator.keeping_bonds(atoms)
    for coordinate in range(3 * len(atoms)):
        forces = []
        for step in (STEP, -STEP):
            moved = atoms.copy()
            moved.positions[divmod(coordinate, 3)] += step
            moved.calc = calculator
            forces.append(moved.get_forces().ravel())
        rows.append((forces[1] - forces[0]) / (2 * STEP))
    hessian = np.array(rows)
    symmetric: Modes = (hessian + hessian.T) / 2
    return symmetric


def _internal_basis(atoms: Atoms, root_mass: NDArray[np.float64]) -> Modes:
    """Return orthonormal mass-weighted directions (3N, M) without rigid motions."""
    centred = atoms.positions - atoms.get_center_of_mass()
    axes = np.eye(3)
    turns = np.cross(axes[:, None], centred[None]).reshape(3, -1)
    shifts = np.tile(axes, len(atoms))
    left, sizes, _ = np.linalg.svd((np.concatenate([shifts, turns]) * root_mass).T)
    rank = int((sizes > 1e-6 * sizes[0]).sum())
    internal: Modes = left[:, rank:]
    return internal
