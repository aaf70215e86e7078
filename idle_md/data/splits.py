"""Splits over all fidelities at once, and balanced draws of labels."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from idle_md.data.identity.copies import exact_ids, geometry_ids
from idle_md.data.store import KINDS, Store

ROLES = ("train", "validation", "test", "ood")
Indices = NDArray[np.int64]


def split(
    store: Store,
    validation: float = 0.1,
    test: float = 0.0,
    by: Literal["geometry", "group"] = "geometry",
    seed: int = 0,
    nuclei: Indices | None = None,
) -> dict[str, Indices]:
    """Split the geometries of a store so that every split has its share of every level's labels.

    Geometries whose role is ``validation``, ``test`` or ``ood`` go there; the rest is split. Copies
    of one geometry stay together, those of a test geometry however they are turned or rounded. What
    is drawn is stratified by which labels it has: of the geometries (or groups) with an energy, or
    with forces, of a level about the asked fraction is drawn, and at least one where there are two
    or more.

    Parameters
    ----------
    store
        Geometries, G of them.
    validation, test
        Fractions of the geometries (or groups) that no role has placed.
    by
        What is drawn: single geometries, or whole groups (molecules).
    seed
        Seed of the draw.
    nuclei
        What :func:`~idle_md.data.identity.nuclear_ids` says of the store, where it is known.

    Returns
    -------
    dict
        Ascending indices of ``train``, ``validation`` and ``test`` (the last two empty where
        nothing was asked for and no role says otherwise), and of ``ood`` where there are any.

    Raises
    ------
    ValueError
        A fraction or role makes no sense, copies of one geometry have different roles, or a split
        would be empty.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise ValueError(
            f"validation={validation} and test={test} must be fractions that leave some to train"
        )
    copies = geometry_ids(store, nuclei)
    parts = _by_role(store, copies)
    pool = parts["train"]
    units = {"geometry": exact_ids(store), "group": store.group}[by][pool]
    names, unit = np.unique(units, return_inverse=True)
    n_validation, n_test = round(validation * len(names)), round(test * len(names))
    _check_sizes(len(names), {"validation": (validation, n_validation), "test": (test, n_test)}, by)
    patterns, stratum = _strata(store, pool, unit)
    sizes = np.bincount(stratum, minlength=len(patterns))
    validated = _apportioned(patterns, sizes, sizes, validation)
    tested = _apportioned(patterns, sizes, sizes - validated, test)
    rank = _rank_within(stratum, np.random.default_rng(seed).permutation(len(names)))[unit]
    first, last = validated[stratum][unit], (validated + tested)[stratum][unit]
    drawn = (rank >= first).astype(np.int64) + (rank >= last)
    drawn = _with_copies(drawn, unit, copies[pool], sizes[stratum])
    parts["validation"] = np.union1d(parts["validation"], pool[drawn == 0])
    parts["test"] = np.union1d(parts["test"], pool[drawn == 1])
    parts["train"] = pool[drawn == 2]
    return {name: part for name, part in parts.items() if name != "ood" or len(part)}


def _with_copies(drawn: Indices, unit: Indices, copies: Indices, sizes: Indices) -> Indices:
    """Where geometries (P,) go if copies of what is tested go together with it.

    Units that share a geometry of the test split go where the one of the rarest labels was drawn,
    or the first. ``sizes`` (U,) says how many units have the same labels.
    """
    n_units, n_nodes = len(sizes), len(sizes) + int(copies.max(initial=-1)) + 1
    links = coo_array((np.ones(len(unit)), (unit, n_units + copies)), (n_nodes, n_nodes))
    cluster = connected_components(links, directed=False)[1][unit]
    order = np.lexsort((np.arange(len(unit)), sizes[unit]))
    _, first, inverse = np.unique(cluster[order], return_index=True, return_inverse=True)
    together = drawn[order[first]][inverse.reshape(-1)][np.argsort(order)]
    tested = np.bincount(cluster[drawn == 1], minlength=n_nodes) > 0
    return np.where(tested[cluster], together, drawn)


def _by_role(store: Store, copies: Indices) -> dict[str, Indices]:
    roles = np.where(store.role == "", "train", store.role)
    unknown = sorted(set(np.unique(roles).tolist()) - set(ROLES))
    if unknown:
        raise ValueError(f"unknown role {unknown[0]!r}: use one of {', '.join(ROLES)}, or none")
    first = np.unique(copies, return_index=True)[1][copies]
    clash = np.flatnonzero(roles != roles[first])
    if len(clash):
        raise ValueError(
            f"geometries {first[clash[0]]} and {clash[0]} are the same, but their roles are "
            f"{roles[first[clash[0]]]} and {roles[clash[0]]}; remove one of them, or make them one "
            "with `idle-md data join`, which keeps what is held out"
        )
    return {role: np.flatnonzero(roles == role) for role in ROLES}


def _strata(
    store: Store, pool: Indices, unit: Indices
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the patterns of labels (S, kinds) that there are, and that of every unit.

    A kind is energy, forces or stress of a level; the last stands for all units. ``unit`` is the
    number of the copies or the group that each geometry of the pool belongs to.
    """
    kinds = [store.has(fidelity, kind)[pool] for fidelity in store.fidelities for kind in KINDS]
    kinds.append(np.ones(len(pool), dtype=bool))
    columns = [np.bincount(unit[kind], minlength=unit.max() + 1) > 0 for kind in kinds]
    patterns, stratum = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    return patterns, stratum.reshape(-1)


def _apportioned(
    patterns: NDArray[np.bool_], sizes: Indices, room: Indices, share: float
) -> Indices:
    """Return how many units to draw from each stratum (S,), which has ``room`` for so many.

    Of every kind of label, beginning with the rarest, units are drawn until it has its share, each
    from the stratum that is farthest from its own.
    """
    drawn = np.zeros_like(sizes)
    if share == 0:
        return drawn
    for has in sorted(patterns.T, key=lambda kind: int(sizes[kind].sum())):
        at_most = max(int(room[has].sum()) - 1, 0)  # one is left to train on
        wanted = min(max(1, round(share * int(sizes[has].sum()))), at_most)
        for _ in range(wanted - int(drawn[has].sum())):
            lacking = np.where(has & (drawn < room), share * sizes - drawn, -np.inf)
            drawn[np.argmax(lacking)] += 1
    return drawn


def _rank_within(stratum: Indices, order: Indices) -> Indices:
    """Return the place of every unit among those of its stratum, in an order of all units."""
    sorted_ = order[np.argsort(stratum[order], kind="stable")]
    starts = np.searchsorted(stratum[sorted_], np.arange(len(order)))
    rank = np.empty_like(order)
    rank[sorted_] = np.arange(len(order)) - starts[stratum[sorted_]]
    return rank


def _check_sizes(total: int, asked: dict[str, tuple[float, int]], by: str) -> None:
    unit = "groups" if by == "group" else "geometries"
    for name, (fraction, count) in asked.items():
        if fraction > 0 and count == 0:
            raise ValueError(
                f"the {name} split would be empty: {fraction} of {total} {unit}; ask for at least "
                f"{1 / max(total, 1):.3f} or 0"
            )
    if sum(count for _, count in asked.values()) >= total:
        raise ValueError(
            f"the train split would be empty: {total} {unit} may be trained on; lower the fractions"
        )


def draw_labels(
    store: Store,
    indices: ArrayLike,
    fidelity: str,
    n: int,
    seed: int = 0,
    kind: Literal["energy", "forces", "stress"] = "energy",
) -> Indices:
    """Draw labelled geometries in turn from every group.

    With the same seed a smaller draw is part of every larger one.

    Parameters
    ----------
    store
        Geometries.
    indices
        Geometries to draw from.
    fidelity
        Level whose labels count.
    n
        Number of labels to draw.
    seed
        Seed of the draw.
    kind
        Which label a geometry must have.

    Returns
    -------
    ndarray
        Ascending indices into the store, n of them.

    Raises
    ------
    ValueError
        The fidelity is unknown or has fewer labels among these geometries.
    """
    mask = store.has(fidelity, kind)
    chosen = np.asarray(indices, dtype=np.int64)
    labelled = np.unique(chosen[mask[chosen]])
    if not 0 < n <= len(labelled):
        raise ValueError(
            f"cannot draw {n} {fidelity} labels ({kind}): {len(labelled)} are there; ask for 1 to "
            f"{len(labelled)}"
        )
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(labelled)
    names, group = np.unique(store.group[shuffled], return_inverse=True)
    by_group = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[by_group], np.arange(len(names)))
    turn = np.empty(len(shuffled), dtype=np.int64)
    turn[by_group] = np.arange(len(shuffled)) - starts[group[by_group]]
    order = np.lexsort((rng.permutation(len(names))[group], turn))
    return np.sort(shuffled[order[:n]])
