"""The trivial baseline: the low level itself plus reference energies fitted to the high level."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from idle_md.data import Store, fit_reference_energies, load, split
from idle_md.train.config import TrainConfig
from idle_md.train.errors import Errors, Parity, compare
from idle_md.train.task import allowed_labels, load_store

COMPARED = {
    "energy errors": "energy_mae_mev",
    "relative energy errors": "relative_energy_mae_mev",
    "force errors": "force_mae_mev_per_angstrom",
    "stress errors": "stress_mae_gpa",
}

FEW = 10  # held-out geometries that say little


class NoSharedLabelsError(ValueError):
    """No label of the target that a training may use is where the low level has one."""


@dataclass(frozen=True)
class TrivialBaseline:
    """A low level's own labels, shifted to the high level.

    Attributes
    ----------
    target, low
        The two levels.
    elements
        Atomic numbers.
    shift
        Energies in eV by element, shape (n_elements,); forces are the low level's, unchanged.
    """

    target: str
    low: str
    elements: list[int]
    shift: npt.NDArray[np.float64]

    @classmethod
    def fitted(cls, config: TrainConfig, low: str, validation: bool = True) -> "TrivialBaseline":
        """Fit the shift to the differences of the two levels.

        Parameters
        ----------
        config
            Of a training, whose labels of the target are used.
        low
            The low level, whose labels are calculated live and count as known.
        validation
            Whether to use the labels for validation too: not where errors on them are wanted.

        Raises
        ------
        NoSharedLabelsError
            If there is nothing to fit it to.
        ValueError
            If the data set lacks what the configuration names.
        """
        store = load(config.data.store)
        splits = split(store, **config.data.split.model_dump())
        seen = allowed_labels(config, load_store(config), splits)[config.target]
        if not validation:
            seen[splits["validation"]] = False
        known = (store.labels_of(config.target).energy - store.labels_of(low).energy)[seen]
        if not np.isfinite(known).any():
            raise NoSharedLabelsError(f"no {config.target} energy to use where {low} has one")
        shift = fit_reference_energies(store.element_counts(store.elements)[seen], known)
        return cls(config.target, low, store.elements, shift)

    def errors(self, test: Store) -> tuple[Errors, Parity]:
        """Return the errors on geometries with labels of both levels."""
        labels = test.labels_of(self.low)
        energies = labels.energy + test.element_counts(self.elements) @ self.shift
        forces = labels.forces.astype(np.float64)
        return compare(test, self.target, energies, forces, labels.stress)


def ratios(errors: Errors, other: Errors) -> dict[str, float]:
    """Return errors over those of another model, of the quantities that both have errors of."""
    ours, theirs = dict[str, Any](errors), dict[str, Any](other)
    pairs = {name: (ours.get(key), theirs.get(key)) for name, key in COMPARED.items()}
    return {name: a / b for name, (a, b) in pairs.items() if a is not None and b}


def verdict(subject: str, errors: Errors, low: str, trivial: Errors) -> str:
    """Return in one sentence how a model compares with the trivial baseline.

    Parameters
    ----------
    subject
        What the model is called.
    errors, trivial
        Of the model and of the baseline on the same labels.
    low
        What the low level is called.
    """
    against = ratios(errors, trivial)
    parts = ", ".join(f"{quantity} are {_change(ratio)}" for quantity, ratio in against.items())
    won = [ratio < 1 for ratio in against.values()]
    outcome = "beat" if all(won) else "beat in part" if any(won) else "did not beat"
    baseline = f"the trivial baseline ({low} plus fitted reference energies)"
    n_labelled = max(errors["n_energies"], errors["n_forces"])
    few = f" Only {n_labelled} geometries were held out." if n_labelled < FEW else ""
    return f"{subject} {outcome} {baseline}: its {parts}.{few}"


def _change(ratio: float) -> str:
    change = abs(1 - ratio)
    amount = f"{change:.0%}" if change >= 0.01 else "less than 1%"
    return f"{amount} {'smaller' if ratio < 1 else 'larger'}"
