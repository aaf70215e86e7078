"""Systems for the tests of the operators."""

import numpy as np
import torch
from torch import Tensor

from idle_md.neighbors import neighbor_list

ELEMENTS = [1, 6, 7, 8]
CUTOFF = 4.0
Inputs = tuple[Tensor, Tensor, Tensor, int]
"""Species, edge_index, edge_vectors and n_owned."""


def random_system(seed: int) -> Inputs:
    """Open, periodic, ghost-trimmed and arbitrary systems, among them empty and single atoms."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([0, 1, 2, 3, 7, 20, 33, 70]))
    species = rng.choice(ELEMENTS, n)
    kind = seed % 4
    owned = n if kind in (0, 1) else int(rng.integers(0, n + 1))
    if kind == 3 and n:
        count = int(rng.integers(0, 12 * n))
        pairs = rng.integers(0, n, (2, count))
        pairs = pairs[:, np.argsort(pairs[0], kind="stable")]
        vectors = rng.normal(size=(count, 3))
        vectors *= rng.uniform(0.7, 1.3 * CUTOFF, (count, 1)) / np.linalg.norm(
            vectors, axis=1, keepdims=True
        )
    else:
        side = max(1.3, (11.0 * max(n, 1)) ** (1 / 3))
        cell = np.diag([side, 1.1 * side, side]) + np.triu(rng.uniform(-0.5, 0.5, (3, 3)), 1)
        positions = apart(rng, n, cell)
        pairs, shifts = neighbor_list(positions, CUTOFF, cell, kind == 1)
        vectors = positions[pairs[1]] - positions[pairs[0]] + shifts
        if kind == 2:  # as LAMMPS trims: nothing arrives at most of the ghosts
            keep = pairs[0] < (owned + n) // 2
            pairs, vectors = pairs[:, keep], vectors[keep]
    tensors = (torch.from_numpy(np.ascontiguousarray(pairs)), torch.from_numpy(vectors))
    return torch.from_numpy(species), *tensors, owned


def apart(rng, n: int, cell) -> np.ndarray:
    """Random points in a cell, no two of them very close."""
    points: list[np.ndarray] = []
    while len(points) < n:
        point = rng.uniform(size=3) @ cell
        if all(np.linalg.norm(point - other) > 0.7 for other in points):
            points.append(point)
    return np.array(points).reshape(-1, 3)
