"""Which geometries are the same, however they are turned, moved, mirrored or rounded.

Atoms of one element have no names, so their order is no difference either. Numbers that hardly
change where positions hardly change bring candidates together; those are then superposed.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from idle_md.cells import spanning
from idle_md.data.identity.superposition import (
    ROUNDING,
    Array,
    Indices,
    Superposition,
    best_rotation,
    superposed_crystals,
    superposed_molecules,
)
from idle_md.data.states import unpaired_of
from idle_md.data.store import Store

SAME = 2e-4
"""Atoms of copies are apart by at most so much, in angstrom: four decimals are enough."""
NEAR = 1e-2
"""Atoms of near-copies are, in angstrom."""
_PIECE = 20_000  # geometries whose invariants are calculated at a time
_ATOMS = 500_000  # in pairs of geometries that are superposed at a time
_FINEST = 1 / 16  # of the tolerance: what invariants of copies may differ by through rounding


def geometry_ids(store: Store, nuclei: Indices | None = None) -> Indices:
    """A number for every geometry, the same for copies of one, shape (G,).

    Copies have the same charge and spin. Numbers are given by first appearance; ``nuclei`` are
    those of :func:`nuclear_ids`, where they are known.
    """
    known = nuclear_ids(store) if nuclei is None else nuclei
    return _numbered(np.stack([known, store.charge, unpaired_of(store)], axis=1))


def nuclear_ids(store: Store) -> Indices:
    """A number for every arrangement of nuclei, whatever its charge, shape (G,)."""
    return _numbered(_originals(store)[:, None]) if store.n_geometries else np.empty(0, np.int64)


def exact_ids(store: Store) -> Indices:
    """A number for every geometry, the same for those equal to the last bit, shape (G,)."""
    ids: dict[bytes, int] = {}
    keys = (blake2b(store.key(g), digest_size=16).digest() for g in range(store.n_geometries))
    return np.array([ids.setdefault(key, len(ids)) for key in keys], np.int64)


def near_copies(store: Store, first: ArrayLike, second: ArrayLike) -> Indices:
    """Pairs of a geometry of ``first`` and one of ``second`` that is nearly the same, shape (K, 2).

    There is at most one pair for each of the ``first``. Of very many that are similar the nearest
    candidates alone are looked at.
    """
    ones, others = np.asarray(first, np.int64), np.asarray(second, np.int64)
    pairs = []
    if len(ones) and len(others):
        both = np.concatenate([ones, others])
        points = _points(store, both, _kinds(store, both))
        tree = cKDTree(points[len(ones) :])
        _, found = tree.query(points[: len(ones)], 3, p=np.inf, distance_upper_bound=NEAR)
        near = np.flatnonzero(found[:, 0] < len(others))
        nearest = others[found[near, 0]]
        sure = (as_numbered(store, ones[near], nearest)[0] <= NEAR) & (ones[near] != nearest)
        for one, known, row in zip(ones[near].tolist(), sure, found[near], strict=True):
            candidates = others[row[row < len(others)]].tolist()
            match = (c for c in candidates if c != one and superposed(store, one, c, NEAR))
            pair = candidates[0] if known else next(match, None)
            pairs += [] if pair is None else [(one, pair)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def near_between(store: Store, sizes: Sequence[int]) -> Indices:
    """Pairs of near-copies, which are no copies, in different parts of a store, shape (K, 2).

    Parameters
    ----------
    store
        Parts one after the other.
    sizes
        Number of geometries of each part.
    """
    ends = np.cumsum(sizes).tolist()
    pairs = [
        near_copies(store, np.arange(first, last), np.arange(first))
        for first, last in pairwise(ends)
    ]
    every = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    unsure = every[as_numbered(store, *every.T)[0] > SAME]
    new = [superposed(store, one, other) is None for one, other in unsure.tolist()]
    pairs_left: Indices = unsure[np.array(new, dtype=bool)]
    return pairs_left


def superposed(store: Store, one: int, other: int, tolerance: float = SAME) -> Superposition | None:
    """How ``other`` becomes ``one``; None where an atom is left farther away than the tolerance.

    The tolerance is in angstrom. Both have the same atoms and the same periodicity.
    """
    mine, its = (slice(*store.offsets[each : each + 2]) for each in (one, other))
    numbers = store.numbers[mine], store.numbers[its]
    positions = store.positions[mine], store.positions[its]
    parts = (numbers, positions, store.cell[[one, other]])
    if all(np.array_equal(*pair) for pair in parts):
        return Superposition(np.arange(len(numbers[0])), np.eye(3))
    if not store.pbc[one].any():
        return superposed_molecules(numbers, positions, tolerance)
    pbc = store.pbc[one]
    cells = spanning(store.cell[one], pbc), spanning(store.cell[other], pbc)
    return superposed_crystals(numbers, positions, cells, pbc, tolerance)


def turning(store: Store, one: int, copy: int) -> Superposition:
    """How a copy becomes the geometry that it is a copy of.

    Raises
    ------
    ValueError
        It is none.
    """
    found = superposed(store, one, copy, NEAR)
    if found is None:
        raise ValueError(f"geometries {one} and {copy} are no copies")
    return found


def turnings(store: Store, ones: Indices, copies: Indices) -> Iterator[Superposition]:
    """What :func:`turning` gives for many pairs, one after the other.

    Raises
    ------
    ValueError
        One is no copy of the other.
    """
    for begin in range(0, len(ones), _PIECE):
        pairs = ones[begin : begin + _PIECE], copies[begin : begin + _PIECE]
        left, rotations = as_numbered(store, *pairs)
        for one, copy, rest, rotation in zip(*pairs, left, rotations, strict=True):
            yield (
                Superposition(np.arange(store.offsets[one + 1] - store.offsets[one]), rotation)
                if rest < ROUNDING
                else turning(store, int(one), int(copy))
            )


def as_numbered(store: Store, ones: Indices, others: Indices) -> tuple[Array, Array]:
    """How pairs of geometries superpose if their atoms correspond in their order.

    Parameters
    ----------
    store
        All geometries.
    ones, others
        Indices of the pairs, shape (P,).

    Returns
    -------
    tuple
        How far an atom is from its image at most, in angstrom (P,), infinite where atoms of
        different elements would correspond or crystals are not equal; and the best rotations or
        reflections (P, 3, 3).
    """
    left = np.full(len(ones), np.inf)
    rotations = np.tile(np.eye(3), (len(ones), 1, 1))
    n_atoms = store.n_atoms
    sizes = np.where(n_atoms[ones] == n_atoms[others], n_atoms[ones], 0)
    for size in np.unique(sizes[sizes > 0]).tolist():
        alike = np.flatnonzero(sizes == size)
        for mine in np.array_split(alike, -(-len(alike) * size // _ATOMS)):
            left[mine], rotations[mine] = _as_numbered(store, ones[mine], others[mine], size)
    return left, rotations


def _as_numbered(store: Store, ones: Indices, others: Indices, size: int) -> tuple[Array, Array]:
    """The same for pairs of geometries of one size."""
    rows = [store.offsets[each][:, None] + np.arange(size) for each in (ones, others)]
    x, y = (store.positions[each] for each in rows)
    equal = (x == y).all(axis=(1, 2)) & (store.cell[ones] == store.cell[others]).all(axis=(1, 2))
    x, y = (each - each.mean(axis=1, keepdims=True) for each in (x, y))
    rotations = best_rotation(x, y)
    left = np.linalg.norm(y @ rotations - x, axis=2).max(axis=1)
    rotations[equal], left[equal] = np.eye(3), 0.0
    same = (store.numbers[rows[0]] == store.numbers[rows[1]]).all(axis=1)
    same &= (store.pbc[ones] == store.pbc[others]).all(axis=1)
    same &= equal | ~store.pbc[ones].any(axis=1)
    return np.where(same, left, np.inf), rotations


def _numbered(rows: NDArray[np.int64]) -> Indices:
    """Numbers of equal rows (G, k) by first appearance, (G,)."""
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers: Indices = rank[inverse.reshape(-1)]
    return numbers


def _originals(store: Store) -> Indices:
    """The first geometry that each is a copy of, or itself, (G,)."""
    fine, every = SAME * _FINEST, np.arange(store.n_geometries)
    rounded = np.round(_points(store, every, _kinds(store, every)) / fine)
    cells, first, cell = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    cell = cell.reshape(-1)
    near = cKDTree(cells * fine).query_pairs(SAME + 2 * fine, p=np.inf, output_type="ndarray")
    neighbours = defaultdict(list)
    for one, other in near.tolist():
        neighbours[one].append(other)
        neighbours[other].append(one)
    crowded = np.bincount(cell, minlength=len(cells)) > 1
    crowded[near.reshape(-1)] = True
    likely = first.copy()  # the first geometry of a cell and its neighbours
    np.minimum.at(likely, near[:, 0], first[near[:, 1]])
    np.minimum.at(likely, near[:, 1], first[near[:, 0]])
    waiting = np.flatnonzero(crowded[cell])
    likely = likely[cell[waiting]]
    sure = as_numbered(store, likely, waiting)[0] <= SAME
    originals, kept = every.copy(), defaultdict[int, list[int]](list)
    for index, guess, is_copy in zip(waiting.tolist(), likely.tolist(), sure, strict=True):
        mine = int(cell[index])
        known = (each for c in (mine, *neighbours[mine]) for each in kept[c])
        if is_copy and guess < index and originals[guess] == guess:
            originals[index] = guess
        else:
            originals[index] = next((k for k in known if superposed(store, k, index)), index)
        if originals[index] == index:
            kept[mine].append(index)
    return originals


def _kinds(store: Store, indices: Indices) -> Indices:
    """A number for every composition and periodicity, of some geometries (K,)."""
    counts = store.element_counts(store.elements)[indices].astype(np.int64)
    return _numbered(np.concatenate([counts, store.pbc[indices]], axis=1))


def _points(store: Store, indices: Indices, kinds: Indices) -> Array:
    """Kind and invariants, none of which changes by more than the atoms are moved, (K, 13)."""
    points = np.zeros((len(indices), 13))
    points[:, 0] = kinds
    for begin in range(0, len(indices), _PIECE):
        piece = indices[begin : begin + _PIECE]
        periodic = store.pbc[piece].any(axis=1)
        for invariants, mine in ((_spreads, ~periodic), (_lattices, periodic)):
            if mine.any():
                found = invariants(store, piece[mine])
                points[begin + np.flatnonzero(mine), 1 : 1 + found.shape[1]] = found
    return points


def _atoms_of(store: Store, chosen: Indices) -> tuple[Indices, Indices, Indices]:
    """Rows of the atoms of some geometries, whose they are (A,), and the first of each (K,)."""
    counts = store.n_atoms[chosen]
    starts = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(chosen)), counts)
    return store.offsets[chosen][owner] + np.arange(len(owner)) - starts[owner], owner, starts


def _shares(numbers: Indices, owner: Indices, starts: Indices) -> list[Array]:
    """Weights of atoms that add up to 1 in every geometry: all alike, and by atomic number."""
    weights = (np.ones(len(numbers)), numbers.astype(np.float64))
    return [each / np.add.reduceat(each, starts)[owner] for each in weights]


def _spreads(store: Store, chosen: Indices) -> Array:
    """Principal radii of gyration of molecules, with two sorts of weights, (K, 6)."""
    rows, owner, starts = _atoms_of(store, chosen)
    radii = []
    for share in _shares(store.numbers[rows], owner, starts):
        x = store.positions[rows]
        x = x - np.add.reduceat(share[:, None] * x, starts)[owner]
        squares = share[:, None] * x[:, [0, 0, 0, 1, 1, 2]] * x[:, [0, 1, 2, 1, 2, 2]]
        six = np.add.reduceat(squares, starts)
        moments = six[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
        radii.append(np.sqrt(np.maximum(np.linalg.eigvalsh(moments), 0.0)))
    return np.concatenate(radii, axis=1)


def _lattices(store: Store, chosen: Indices) -> Array:
    """Edges and diagonals of cells, and structure factors with two sorts of weights, (K, 12)."""
    rows, owner, starts = _atoms_of(store, chosen)
    pbc = store.pbc[chosen]
    cells = np.array([spanning(c, p) for c, p in zip(store.cell[chosen], pbc, strict=True)])
    inverse = np.linalg.inv(cells)
    waves = np.exp(2j * np.pi * np.einsum("ai,aij->aj", store.positions[rows], inverse[owner]))
    per_angstrom = pbc / (2 * np.pi * np.linalg.norm(inverse, axis=1))
    lattice = np.where(pbc[:, :, None], cells, 0.0)
    edges = np.concatenate([lattice, lattice + np.roll(lattice, 1, axis=1)], axis=1)
    factors = [
        per_angstrom * np.abs(np.add.reduceat(share[:, None] * waves, starts))
        for share in _shares(store.numbers[rows], owner, starts)
    ]
    return np.concatenate([np.linalg.norm(edges, axis=2), *factors], axis=1)
