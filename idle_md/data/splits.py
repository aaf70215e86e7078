"""Splits over all fidelities at once, and balanced draws of labels."""

from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idle_md.data.store import Store

ROLES = ("train", "validation", "test", "ood")
Indices = NDArray[np.int64]


def split(
    store: Store,
    validation: float = 0.1,
    test: float = 0.0,
    by: Literal["geometry", "group"] = "geometry",
    seed: int = 0,
) -> dict[str, Indices]:
    """Split the geometries of a store, with whatever labels they have.

    Geometries whose role is ``validation``, ``test`` or ``ood`` go there; the rest is split. Copies
    of one geometry stay together.

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
    copies = geometry_ids(store)
    parts = _by_role(store, copies)
    pool = parts["train"]
    units = {"geometry": copies, "group": store.group}[by][pool]
    names = np.unique(units)
    order = np.random.default_rng(seed).permutation(len(names))
    n_validation, n_test = round(validation * len(names)), round(test * len(names))
    _check_sizes(len(names), {"validation": (validation, n_validation), "test": (test, n_test)}, by)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    rank_of = rank[np.searchsorted(names, units)]
    parts["validation"] = np.union1d(parts["validation"], pool[rank_of < n_validation])
    drawn = (rank_of >= n_validation) & (rank_of < n_validation + n_test)
    parts["test"] = np.union1d(parts["test"], pool[drawn])
    parts["train"] = pool[rank_of >= n_validation + n_test]
    return {name: part for name, part in parts.items() if name != "ood" or len(part)}


def geometry_ids(store: Store) -> Indices:
    """A number for every geometry, the same for copies of one, shape (G,)."""
    ids: dict[bytes, int] = {}
    result = np.empty(store.n_geometries, dtype=np.int64)
    for index in range(store.n_geometries):
        key = blake2b(store.key(index), digest_size=16).digest()
        result[index] = ids.setdefault(key, len(ids))
    return result


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
            f"{roles[first[clash[0]]]} and {roles[clash[0]]}; remove one of them"
        )
    return {role: np.flatnonzero(roles == role) for role in ROLES}


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
    kind: Literal["energy", "forces"] = "energy",
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
    mask = {"energy": store.has_energy, "forces": store.has_forces}[kind](fidelity)
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
