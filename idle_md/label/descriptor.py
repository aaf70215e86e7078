"""How far two geometries of one composition are from each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Descriptor = NDArray[np.float64]


def sorted_distances(numbers: NDArray[np.int64], positions: NDArray[np.float64]) -> Descriptor:
    """Return the interatomic distances in angstrom, ascending within every pair of elements.

    They do not change when the molecule is moved, turned, reflected, or its atoms permuted, and
    geometries of one composition have equally many. Divided by the square root of their number, so
    the Euclidean distance of two descriptors is the root mean square of the differences.
    """
    first, second = np.triu_indices(len(numbers), 1)
    distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    pair = 256 * np.minimum(numbers[first], numbers[second])
    pair = pair + np.maximum(numbers[first], numbers[second])
    order = np.lexsort((distances, pair))
    descriptor: Descriptor = distances[order] / np.sqrt(max(1, len(order)))
    return descriptor


class Seen:
    """Descriptors of the geometries that are kept, by composition."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self._kept: dict[bytes, list[Descriptor]] = {}

    def is_new(self, numbers: NDArray[np.int64], positions: NDArray[np.float64]) -> bool:
        """Tell whether a geometry is farther than the tolerance from all others, and keep it."""
        kept = self._kept.setdefault(np.sort(numbers).tobytes(), [])
        descriptor = sorted_distances(numbers, positions)
        if kept and np.linalg.norm(np.array(kept) - descriptor, axis=1).min() <= self.tolerance:
            return False
        kept.append(descriptor)
        return True


def farthest(descriptors: Sequence[Descriptor], n: int, known: Sequence[Descriptor]) -> list[int]:
    """Return n descriptors, each the farthest from those known and those before it.

    Where none is known, it starts with the one that is farthest from the mean.
    """
    points = np.array(descriptors)
    nearest = np.linalg.norm(points - points.mean(axis=0), axis=1)
    chosen: list[int] = []
    if len(known):
        nearest = np.min([np.linalg.norm(points - one, axis=1) for one in known], axis=0)
    for _ in range(min(n, len(points))):
        best = int(nearest.argmax())
        to_best = np.linalg.norm(points - points[best], axis=1)
        nearest = to_best if not len(known) and not chosen else np.minimum(nearest, to_best)
        nearest[[*chosen, best]] = -1.0
        chosen.append(best)
    return chosen
