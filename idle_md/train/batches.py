"""Which geometries make up training step k: a pure function of the seed and of k."""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


class ShuffledPool:
    """Endless passes over a set of indices, each in an order of its own.

    Parameters
    ----------
    indices
        What is drawn from.
    seed
        Two integers or more that no other pool of the run shares.
    """

    def __init__(self, indices: Indices, seed: tuple[int, ...]) -> None:
        self.indices = np.asarray(indices, dtype=np.int64)
        self.seed = seed
        self._pass = -1
        self._order = self.indices

    def take(self, start: int, count: int) -> Indices:
        """Return ``count`` indices from position ``start`` of the endless sequence."""
        positions = np.arange(start, start + count)
        taken = np.empty(count, dtype=np.int64)
        for number in np.unique(positions // len(self.indices)):
            inside = positions // len(self.indices) == number
            taken[inside] = self._shuffled(int(number))[positions[inside] % len(self.indices)]
        return taken

    def _shuffled(self, number: int) -> Indices:
        if number != self._pass:
            generator = np.random.default_rng((*self.seed, number))
            self._pass, self._order = number, generator.permutation(self.indices)
        return self._order


class BatchStream:
    """Batches with a fixed share of target-labelled geometries.

    Because a batch depends on its number alone, a run that was killed continues with exactly the
    batches it would have seen.

    Parameters
    ----------
    target, others
        Geometries with a label of the target fidelity that may be trained on, and the rest.
    size
        Geometries in a batch.
    target_share
        Share of them taken from ``target`` when ``others`` is not empty.
    seed
        Seed of the order.

    Raises
    ------
    ValueError
        If there is no geometry at all.
    """

    def __init__(
        self, target: Indices, others: Indices, size: int, target_share: float, seed: int
    ) -> None:
        if len(target) == 0:
            raise ValueError("no training geometry has a label of the target fidelity")
        self.n_target = size
        if len(others):
            self.n_target = min(size, max(1, round(size * target_share)))
        self.n_target = min(self.n_target, len(target))
        self.n_others = size - self.n_target if len(others) else 0
        self.target = ShuffledPool(target, (seed, 0))
        self.others = ShuffledPool(others, (seed, 1))

    def __getitem__(self, step: int) -> Indices:
        batch = self.target.take(step * self.n_target, self.n_target)
        if self.n_others:
            batch = np.concatenate([batch, self.others.take(step * self.n_others, self.n_others)])
        return batch
