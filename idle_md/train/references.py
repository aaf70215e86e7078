"""Reference energies that a configuration gives, in place of fitted ones."""

from collections.abc import Iterator

import numpy as np
import torch

from idle_md.data.reference_energies import isolated_energies, one_atom_frames
from idle_md.elements import atomic_numbers, symbols
from idle_md.nn import Potential
from idle_md.train.task import Task, elements_of

MOST_BOUND = 50.0  # eV per atom, which no matter is
FAR = 0.5  # eV


def given_references(task: Task, fidelity: str) -> dict[int, float] | None:
    """Return the reference energies in eV of a fidelity's elements; None where they are fitted.

    A fidelity without energies has none.

    Raises
    ------
    ValueError
        If an element has none, or the labels are too far from them to be of the same kind.
    """
    config, column = task.config, task.tensors.fidelities.index(fidelity)
    source = config.references_of(fidelity)
    if source == "fit" or bool(torch.isnan(task.tensors.energies[:, column]).all()):
        return None
    if isinstance(source, dict):
        known = dict(zip(atomic_numbers(source), source.values(), strict=True))
    else:
        known = isolated_energies(task.store, fidelity, config.backbone.cutoff)
    needed = elements_of(task, column)
    missing = sorted(set(needed) - set(known))
    if missing:
        names = ", ".join(symbols(missing))
        raise ValueError(
            f"reference_energies: no {fidelity!r} energy of isolated {names}: give one-atom "
            f"geometries with that label, let `idle-md label --isolated-atoms` calculate them, or "
            f"give numbers, reference_energies: {{{fidelity}: {{{symbols(missing)[0]}: ...}}}}"
        )
    found = {number: known[number] for number in needed}
    _check_plausible(task, fidelity, found)
    return found


def _check_plausible(task: Task, fidelity: str, found: dict[int, float]) -> None:
    references = np.array([found.get(number, 0.0) for number in task.elements])
    train = task.splits["train"]
    energies = task.tensors.energies[train, task.tensors.fidelities.index(fidelity)].numpy()
    counts = task.store.element_counts(task.elements)[train]
    n_atoms = counts.sum(1)
    chosen = ~np.isnan(energies) & (n_atoms > 1)
    if not chosen.any():
        return
    bound = np.median((energies - counts @ references)[chosen] / n_atoms[chosen])
    if abs(bound) > MOST_BOUND:
        raise ValueError(
            f"reference_energies: {fidelity!r} energies are {bound:.4g} eV per atom from those of "
            "the isolated atoms: give these in eV, and of all electrons or without the core as "
            "the labels are"
        )


def anchor(potential: Potential, task: Task) -> None:
    """Give a potential the reference energies of a task that are not to be fitted."""
    anchored = set(potential.anchored)
    for fidelity in potential.fidelities:
        given = given_references(task, fidelity)
        if given is not None:
            energies = torch.tensor(list(given.values()), dtype=torch.float64)
            potential.reference_energies[list(given), potential.column(fidelity)] = energies
            anchored.add(fidelity)
    potential.anchored = [fidelity for fidelity in potential.fidelities if fidelity in anchored]


def far_from_fit(task: Task, potential: Potential) -> Iterator[str]:
    """Say where isolated atoms of the data set are far from fitted reference energies."""
    for column, fidelity in enumerate(potential.fidelities):
        if fidelity in potential.anchored:
            continue
        frames = one_atom_frames(task.store, fidelity, task.config.backbone.cutoff)
        fitted = potential.reference_energies[:, column]
        far = {
            symbols([number])[0]: f"{float(np.median(energies) - fitted[number]):+.2f} eV"
            for number, energies in frames.items()
            if number in potential.elements_of(fidelity)
            and abs(float(np.median(energies) - fitted[number])) > FAR
        }
        if far:
            told = ", ".join(f"{name} {gap}" for name, gap in far.items())
            yield (
                f"isolated atoms of {fidelity!r} in the data are far from the fitted reference "
                f"energies ({told}): for lone atoms and dissociation set reference_energies: "
                "isolated"
            )
