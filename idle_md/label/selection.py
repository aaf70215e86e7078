"""Which geometries are worth an expensive label."""

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from idle_md.data import Store
from idle_md.label.descriptor import farthest, sorted_distances

Indices = NDArray[np.int64]
Score = Callable[[Store], NDArray[np.float64]]
"""Gives every geometry of a store a number, the higher the more its label is wanted."""


@runtime_checkable
class Chooser(Protocol):
    """What chooses geometries together, so that they do not tell the same twice."""

    def choose(self, store: Store, candidates: Indices, n: int, known: Indices) -> Indices:
        """Return n of the candidates; ``known`` are the geometries that have a label."""


SHORTLIST = 3  # times as many of the highest scores as are wanted, thinned by diversity


def choose(
    store: Store,
    candidates: Indices,
    n: int,
    how: Literal["random", "diverse"] | Score | Chooser,
    seed: int,
    known: Indices,
) -> Indices:
    """Choose n of the candidates.

    Parameters
    ----------
    store
        Geometries.
    candidates
        Those that may be chosen.
    n
        How many, at most as many as there are.
    how
        ``random``: in turn from every group, by chance. ``diverse``: in turn from every group, the
        geometry that is farthest from those chosen and known. A score: the highest scores, thinned
        to the most diverse third. A chooser: what it says.
    seed
        Of the draw.
    known
        Geometries that have a label, to be kept away from, and counted for their group.

    Returns
    -------
    ndarray
        Ascending indices.
    """
    if isinstance(how, Chooser):
        return np.sort(how.choose(store, candidates, n, known))
    if callable(how):
        scores = how(store.select(candidates))
        shortlist = candidates[np.argsort(-scores, kind="stable")[: SHORTLIST * n]]
        order = _rank_diverse(store, shortlist, known)
    elif how == "diverse":
        order = _rank_diverse(store, candidates, known)
    else:
        order = np.random.default_rng(seed).permutation(candidates)
    return np.sort(_in_turn(store, order, n, seed, known))


def _rank_diverse(store: Store, candidates: Indices, known: Indices) -> Indices:
    """Return the candidates, those of every composition by farthest point sampling."""
    ranked = []
    kinds = _compositions(store)
    for kind in np.unique(kinds[candidates]):
        mine, near = candidates[kinds[candidates] == kind], known[kinds[known] == kind]
        order = farthest(_descriptors(store, mine), len(mine), _descriptors(store, near))
        ranked.append(mine[order])
    return np.concatenate(ranked) if ranked else candidates


def _in_turn(store: Store, order: Indices, n: int, seed: int, known: Indices) -> Indices:
    """Return n from the front of the order, the groups with the fewest known and chosen first."""
    names, group = np.unique(store.group, return_inverse=True)
    turn = np.empty(len(order), dtype=np.int64)
    count = np.bincount(group[known], minlength=len(names))
    for place, index in enumerate(order):
        turn[place] = count[group[index]]
        count[group[index]] += 1
    luck = np.random.default_rng(seed).permutation(len(names))
    chosen: Indices = order[np.lexsort((luck[group[order]], turn))[:n]]
    return chosen


def _compositions(store: Store) -> Indices:
    keys = [
        np.sort(store.numbers[first:last]).tobytes()
        for first, last in zip(store.offsets[:-1], store.offsets[1:], strict=True)
    ]
    ids: dict[bytes, int] = {}
    return np.array([ids.setdefault(key, len(ids)) for key in keys], dtype=np.int64)


def _descriptors(store: Store, indices: Indices) -> list[NDArray[np.float64]]:
    return [
        sorted_distances(store.numbers[mine], store.positions[mine])
        for mine in (slice(store.offsets[i], store.offsets[i + 1]) for i in indices.tolist())
    ]
