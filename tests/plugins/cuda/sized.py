"""Systems of a given size, in every way that the edge contract allows."""

import numpy as np
import torch

from idle_md.neighbors import neighbor_list
from tests.plugins.systems import CUTOFF, ELEMENTS, Inputs, apart

SIZES = [0, 1, 31, 33, 127, 129]
KINDS = ["open", "periodic", "trimmed", "padded", "repeated"]


def sized_system(kind: str, n: int, seed: int = 0) -> Inputs:
    """Return a random system of n atoms.

    Parameters
    ----------
    kind
        ``open``; ``periodic`` in a box so narrow that atoms meet their own images; ``trimmed``,
        where most of the ghosts receive nothing; ``padded`` with edges beyond the cutoff;
        ``repeated``, random pairs many of which come several times.
    """
    rng = np.random.default_rng(1000 * n + seed)
    species = rng.choice(ELEMENTS, n)
    owned = n
    if kind == "repeated":
        count = 12 * n
        pairs = rng.integers(0, n, (2, count)) if n else np.zeros((2, 0), dtype=np.int64)
        pairs[1] = pairs[1] // 3
        pairs = pairs[:, np.argsort(pairs[0], kind="stable")]
        vectors = rng.normal(size=(count, 3))
        lengths = rng.uniform(0.8, 1.2 * CUTOFF, (count, 1))
        vectors *= lengths / np.linalg.norm(vectors, axis=1, keepdims=True)
        owned = n - n // 4
    else:
        side = max(2.1, (14.0 * max(n, 1)) ** (1 / 3))
        narrow = 3.5 if kind == "periodic" and n else side
        cell = np.diag([narrow, side**2 / narrow, side]) + np.triu(
            rng.uniform(-0.3, 0.3, (3, 3)), 1
        )
        positions = apart(rng, n, cell)
        reach = CUTOFF + 0.5 if kind == "padded" else CUTOFF
        pairs, shifts = neighbor_list(positions, reach, cell, kind == "periodic")
        vectors = positions[pairs[1]] - positions[pairs[0]] + shifts
        if kind == "trimmed":
            owned = n // 2
            keep = pairs[0] < (owned + n) // 2
            pairs, vectors = pairs[:, keep], vectors[keep]
    index = torch.from_numpy(np.ascontiguousarray(pairs))
    return torch.from_numpy(species), index, torch.from_numpy(vectors), owned
