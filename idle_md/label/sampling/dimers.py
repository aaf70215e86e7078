"""Geometries of two molecules next to each other, and of a molecule among waters."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

NEAREST, FARTHEST = 0.75, 1.3  # closest contact, over the sum of the van der Waals radii
UNKNOWN_RADIUS = 2.0  # angstrom


def dimers(
    first: Sequence[Atoms], second: Sequence[Atoms], rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield geometries without end: molecules turned at random, at a random closest contact."""
    frame = 0
    while True:
        one = turned(first[int(rng.integers(len(first)))], rng)
        pair = one + beside(one, second[int(rng.integers(len(second)))], rng)
        pair.info = {"sampling": "dimers", "frame": frame}
        yield pair
        frame += 1


def clusters(
    starts: Sequence[Atoms], waters: Sequence[Atoms], n: int, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield geometries without end: a molecule and n waters, each touching what is there already.

    Closest contacts are those of :func:`dimers`.
    """
    frame = 0
    while True:
        cluster = turned(starts[int(rng.integers(len(starts)))], rng)
        for _ in range(n):
            cluster += beside(cluster, waters[int(rng.integers(len(waters)))], rng)
        cluster.info = {"sampling": "clusters", "frame": frame}
        yield cluster
        frame += 1


def turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Return atoms around the origin, turned at random."""
    turn = Rotation.random(rng=rng)
    return Atoms(atoms.numbers, turn.apply(atoms.positions - atoms.positions.mean(axis=0)))


def beside(one: Atoms, other: Atoms, rng: np.random.Generator) -> Atoms:
    """Return a molecule turned at random at a random closest contact with another one."""
    moved = turned(other, rng)
    direction = rng.standard_normal(3)
    contact = rng.uniform(NEAREST, FARTHEST)
    moved.positions += _shift(one, moved, direction / np.linalg.norm(direction), contact)
    return moved


def radii_sums(one: Atoms, other: Atoms) -> NDArray[np.float64]:
    """Return the sums (N1, N2) of van der Waals radii in angstrom."""
    radii = [np.nan_to_num(vdw_radii[atoms.numbers], nan=UNKNOWN_RADIUS) for atoms in (one, other)]
    sums: NDArray[np.float64] = radii[0][:, None] + radii[1]
    return sums


def _shift(one: Atoms, other: Atoms, direction: np.ndarray, contact: float) -> np.ndarray:
    """Return how far to move along a direction until the closest contact is as wanted."""
    wanted = contact * radii_sums(one, other)
    apart = other.positions - one.positions[:, None]
    along = apart @ direction
    across = (apart**2).sum(axis=2) - along**2
    # |apart + s direction| = wanted, the larger solution s; no solution where they pass each other
    squares = wanted**2 - across
    far = np.where(squares > 0, np.sqrt(np.maximum(squares, 0)) - along, -np.inf)
    shift: np.ndarray = max(float(far.max()), 0.0) * direction
    return shift
