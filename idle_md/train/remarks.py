"""What a user should know of the labels before a training."""

from collections.abc import Iterator

import numpy as np
from rich.console import Console

from idle_md.data.identity import NEAR, near_copies
from idle_md.elements import symbols
from idle_md.train.report import label_table
from idle_md.train.task import Task, elements_of, labelled_geometries


def show_labels(task: Task, console: Console) -> None:
    """Print how many labels of each fidelity are used, and what is remarkable about them."""
    console.print(label_table(task.label_counts))
    for remark in remarks(task):
        console.print(f"note: {remark}", style="yellow")


def remarks(task: Task) -> Iterator[str]:
    """Say what levels know less, what is held out and yet known, and what a model cannot see."""
    yield from _elements(task)
    yield from _held_out(task)
    yield from _charges(task)


def _elements(task: Task) -> Iterator[str]:
    train = task.splits["train"]
    labelled = labelled_geometries(task.tensors)
    for column, fidelity in enumerate(task.config.fidelities):
        unknown = sorted(set(elements_of(task)) - set(elements_of(task, column)))
        for number in unknown:
            place = task.store.elements.index(number)
            has = task.store.element_counts(task.store.elements)[:, place] > 0
            count = int(np.sum(np.any(labelled, axis=1)[train] & has[train]))
            name = symbols([number])[0]
            yield (
                f"{count} geometries with {name} have no label of {fidelity!r}: it does not know "
                f"{name}, and its exported model refuses it; label some of them"
            )


def _held_out(task: Task) -> Iterator[str]:
    seen = np.concatenate([task.splits["train"], task.splits["validation"]])
    test, ood = task.splits["test"], task.splits.get("ood", np.empty(0, np.int64))
    for name, held_out, others, what in (
        ("test", np.concatenate([test, ood]), seen, "trained or validated on"),
        ("validation", task.splits["validation"], task.splits["train"], "trained on"),
    ):
        pairs = near_copies(task.store, held_out, others)
        if len(pairs):
            one, other = pairs[0].tolist()
            yield (
                f"{len(pairs)} of {len(held_out)} {name} geometries are within {NEAR:g} angstrom "
                f"of one that is {what}, such as geometry {one} ({task.store.group[one]}) of "
                f"{other}: errors there are too small; `idle-md data join` makes one of copies"
            )


def _charges(task: Task) -> Iterator[str]:
    shown = np.any(labelled_geometries(task.tensors), axis=1)
    store = task.store.select(np.flatnonzero(shown))
    if len(np.unique(store.charge)) < 2:
        return
    counts = store.element_counts(store.elements).astype(np.int64)
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    low, high = (np.full(len(kinds), start) for start in (2**31, -(2**31)))
    np.minimum.at(low, kind, store.charge)
    np.maximum.at(high, kind, store.charge)
    mixed = np.flatnonzero(low < high)
    if len(mixed):
        example = store.group[kind == mixed[0]][0]
        yield (
            f"{len(mixed)} formulae, such as that of {example}, have geometries of several charges "
            f"({low[mixed[0]]} and {high[mixed[0]]}): a model sees no charge and predicts one "
            "energy for all; train on those of one charge unless they are other molecules"
        )
