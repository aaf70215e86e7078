"""The trivial baseline: the low level itself plus reference energies fitted to the high level."""

import numpy as np
import torch

from idle_md.data import Store, fit_reference_energies
from idle_md.train.config import TrainConfig
from idle_md.train.errors import Errors, Parity, compare
from idle_md.train.task import build_task


def low_level_baseline(config: TrainConfig, low: str, test: Store) -> tuple[Errors, Parity]:
    """Return the errors of the low level's own labels, shifted to the high level.

    The shift is fitted, per element, to the differences of the two levels where the training of
    ``config`` sees both; forces are the low level's, unchanged.

    Parameters
    ----------
    config
        Of a training on both levels.
    low
        The low level.
    test
        Geometries with labels of both levels.
    """
    task = build_task(config)
    elements = task.elements
    seen = np.union1d(task.splits["train"], task.splits["validation"])
    columns = [config.fidelities.index(fidelity) for fidelity in (low, config.target)]
    labels = task.tensors.energies[torch.from_numpy(seen)].numpy()[:, columns]
    counts = task.store.element_counts(elements)
    shift = fit_reference_energies(counts[seen], labels[:, 1] - labels[:, 0])
    energies = test.labels_of(low).energy + test.element_counts(elements) @ shift
    forces = test.labels_of(low).forces.astype(np.float64)
    return compare(test, config.target, energies, forces)
