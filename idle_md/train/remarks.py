"""What a user should know of the labels before a training."""

from collections.abc import Iterator
from itertools import chain

import numpy as np
from rich.console import Console

from idle_md.data.identity.copies import NEAR, near_copies
from idle_md.elements import symbols
from idle_md.nn import Potential
from idle_md.terminal import label_table
from idle_md.train.references import far_from_fit
from idle_md.train.task import Task, elements_of, labelled_geometries


def show_labels(task: Task, console: Console, start: Potential | None = None) -> None:
    """Print how many labels of each fidelity are used, and what is remarkable about them.

    ``start`` is the potential that is trained, with its reference energies.
    """
    console.print(label_table("Labels used", task.label_counts))
    for remark in chain(remarks(task), [] if start is None else far_from_fit(task, start)):
        console.print(f"note: {remark}", style="yellow")


def remarks(task: Task) -> Iterator[str]:
    """Say what levels know less, what is held out and yet known, and what a model does not see."""
    yield from _elements(task)
    yield from _stresses(task)
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


def _stresses(task: Task) -> Iterator[str]:
    for fidelity in task.config.fidelities:
        count = int(task.store.has_stress(fidelity).sum())
        if count and "stress" not in task.config.labels[fidelity]:
            remedy = f"add `stress` to labels.{fidelity}"
            if not task.config.method.uses_stress:
                remedy = f"the method {task.config.method.name} uses none"
            yield f"{count} stresses of {fidelity!r} are not trained on: {remedy}"


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
