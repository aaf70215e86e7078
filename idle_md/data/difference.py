"""Labels that are the difference of two levels."""

from dataclasses import replace

from idle_md.data.store import Labels, Store


def difference(store: Store, high: str, low: str) -> Store:
    """Return a store whose labels, under the name of the high level, are high less low.

    A geometry has one where both levels are labelled; the labels of other levels stay. Where the
    low level is calculated live at inference, errors of a model on these labels are its errors at
    the high level.

    Raises
    ------
    ValueError
        If a fidelity is unknown, both are the same, or no geometry has both energies.
    """
    if high == low:
        raise ValueError(f"a difference is that of two levels, and they are both {high!r}")
    ours, theirs = store.labels_of(high), store.labels_of(low)
    if not (store.has_energy(high) & store.has_energy(low)).any():
        raise ValueError(f"no geometry has both a {high!r} and a {low!r} energy")
    labels = Labels(
        ours.energy - theirs.energy, ours.forces - theirs.forces, ours.stress - theirs.stress
    )
    return replace(store, labels={**store.labels, high: labels})
