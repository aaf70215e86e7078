"""Geometries of two molecules with a proton on its way from one to the other."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from idle_md.bonds import BONDED, contact_ratios
from idle_md.label.sampling.dimers import NEAREST, radii_sums

ACIDIC = (7, 8, 9, 16, 17)  # what lets a proton go
BASIC = (7, 8, 16)  # what takes it
OPEN = 0.5  # least length of the sum of unit vectors to the neighbours of what takes it
NARROWEST, WIDEST = 0.3, 1.0  # angstrom that the proton can go
TRIES = 200  # for a geometry in which nothing is in the way
TILT = 0.4  # standard deviation of what is added to the direction of a lone pair


def transfers(
    first: Sequence[Atoms], second: Sequence[Atoms], rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield geometries without end: a proton of one molecule between it and another, D-H-A.

    The proton is on the line from D to A, no closer to either than the sum of covalent radii, and
    D and A are 0.3 to 1 angstrom farther apart than both bonds are long. It comes from either
    molecule. All other contacts are as far as those of :func:`~.dimers.dimers`. Ends where no
    molecule has a proton to give or the other no lone pair, or something is always in the way.
    """
    frame = 0
    while True:
        for _ in range(TRIES):
            pair = [first[int(rng.integers(len(first)))], second[int(rng.integers(len(second)))]]
            joined = _handed_over(pair, rng)
            if joined is not None:
                break
        else:
            return
        joined.info = {"sampling": "transfers", "frame": frame}
        yield joined
        frame += 1


def donors(atoms: Atoms) -> list[tuple[int, int]]:
    """Return the atoms that have a proton to give, each with the proton."""
    bonded = contact_ratios(atoms, atoms) < BONDED
    acid, proton = np.isin(atoms.numbers, ACIDIC), atoms.numbers == 1
    pairs = np.argwhere(bonded & acid[:, None] & proton).tolist()
    return [(first, second) for first, second in pairs]


def acceptors(atoms: Atoms) -> list[tuple[int, NDArray[np.float64]]]:
    """Return the atoms that can take a proton, each with the unit vector away from its bonds."""
    bonded = contact_ratios(atoms, atoms) < BONDED
    np.fill_diagonal(bonded, False)
    found = []
    for index in np.flatnonzero(np.isin(atoms.numbers, BASIC)).tolist():
        bonds = atoms.positions[bonded[index]] - atoms.positions[index]
        away = -(bonds / np.linalg.norm(bonds, axis=1, keepdims=True)).sum(axis=0)
        if np.linalg.norm(away) > OPEN:
            found.append((index, away / np.linalg.norm(away)))
    return found


def _handed_over(pair: list[Atoms], rng: np.random.Generator) -> Atoms | None:
    """Return both molecules with a proton between them, or nothing if that cannot be."""
    ways = [way for way in (0, 1) if donors(pair[way]) and acceptors(pair[1 - way])]
    if not ways:
        return None
    way = ways[int(rng.integers(len(ways)))]
    acid, base = (Atoms(each.numbers, each.positions) for each in (pair[way], pair[1 - way]))
    given, taken = donors(acid), acceptors(base)
    donor, proton = given[int(rng.integers(len(given)))]
    acceptor, away = taken[int(rng.integers(len(taken)))]
    axis = acid.positions[proton] - acid.positions[donor]
    axis /= np.linalg.norm(axis)
    tilted = away + TILT * rng.standard_normal(3)
    facing, _ = Rotation.align_vectors(-axis[None], tilted[None])
    turn = Rotation.from_rotvec(rng.uniform(0.0, 2 * np.pi) * axis) * facing
    radii = covalent_radii[[acid.numbers[donor], 1, base.numbers[acceptor]]]
    room = rng.uniform(NARROWEST, WIDEST)
    span = radii[0] + 2 * radii[1] + radii[2] + room
    base.positions = turn.apply(base.positions - base.positions[acceptor])
    base.positions += acid.positions[donor] + span * axis
    gone = radii[0] + radii[1] + room * rng.random()
    acid.positions[proton] = acid.positions[donor] + gone * axis
    apart = np.linalg.norm(acid.positions[:, None] - base.positions, axis=2)
    contacts = apart / radii_sums(acid, base)
    contacts[proton], contacts[donor, acceptor] = np.inf, np.inf
    if contacts.min() < NEAREST:
        return None
    joined: Atoms = acid + base if way == 0 else base + acid
    return joined
