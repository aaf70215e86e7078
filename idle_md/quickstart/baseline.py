"""The trivial baseline: the low level itself plus reference energies fitted to the high level."""

import numpy as np
import torch

from idle_md.data import Store
from idle_md.train.config import TrainConfig
from idle_md.train.evaluation import Errors, Parity, compare
from idle_md.train.task import build_task


def low_level_baseline(config: TrainConfig, test: Store) -> tuple[Errors, Parity]:
    """Return the errors of the low level's own labels, shifted to the high level.

    The shift is the difference of the two levels' reference energies, fitted to the labels that the
    training of ``config`` sees; forces are the low level's, unchanged.

    Parameters
    ----------
    config
        Of a training with a correction head.
    test
        Geometries with labels of both levels.
    """
    potential = build_task(config).potential
    ((high, low),) = potential.heads.correction_on.items()
    references = potential.reference_energies[torch.from_numpy(test.numbers.astype(np.int64))]
    shift = (references[:, potential.column(high)] - references[:, potential.column(low)]).numpy()
    energies = test.labels_of(low).energy + np.add.reduceat(shift, test.offsets[:-1])
    return compare(test, high, energies, test.labels_of(low).forces.astype(np.float64))
