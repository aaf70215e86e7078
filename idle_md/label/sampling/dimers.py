"""Geometries of two molecules next to each other."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from scipy.spatial.transform import Rotation

NEAREST, FARTHEST = 0.75, 1.3  # closest contact, over the sum of the van der Waals radii
UNKNOWN_RADIUS = 2.0  # angstrom


def dimers(
    first: Sequence[Atoms], second: Sequence[Atoms], rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield geometries without end: molecules turned at random, at a random closest contact."""
    frame = 0
    while True:
        one = _turned(first[int(rng.integers(len(first)))], rng)
        other = _turned(second[int(rng.integers(len(second)))], rng)
        direction = rng.standard_normal(3)
        contact = rng.uniform(NEAREST, FARTHEST)
        other.positions += _shift(one, other, direction / np.linalg.norm(direction), contact)
        pair = one + other
        pair.info = {"sampling": "dimers", "frame": frame}
        yield pair
        frame += 1


def _turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    turn = Rotation.random(rng=rng)
    return Atoms(atoms.numbers, turn.apply(atoms.positions - atoms.positions.mean(axis=0)))


def _shift(one: Atoms, other: Atoms, direction: np.ndarray, contact: float) -> np.ndarray:
    """Return how far to move along a direction until the closest contact is as wanted."""
    radii = [np.nan_to_num(vdw_radii[atoms.numbers], nan=UNKNOWN_RADIUS) for atoms in (one, other)]
    wanted = contact * (radii[0][:, None] + radii[1])
    apart = other.positions - one.positions[:, None]
    along = apart @ direction
    across = (apart**2).sum(axis=2) - along**2
    # |apart + s direction| = wanted, the larger solution s; no solution where they pass each other
    squares = wanted**2 - across
    far = np.where(squares > 0, np.sqrt(np.maximum(squares, 0)) - along, -np.inf)
    shift: np.ndarray = max(float(far.max()), 0.0) * direction
    return shift
