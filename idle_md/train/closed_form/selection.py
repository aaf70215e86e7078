"""Which geometries tell a closed form most, before any of them is labelled.

Greedy choice by the variance of forces that is left over all candidates (Cohn, Neural Networks 9,
1071, 1996), which depends on the features and not on the labels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from idle_md.data import GeometryTensors, Store
from idle_md.nn import load_checkpoint
from idle_md.run_folder import checkpoints_of
from idle_md.train.batches import Indices
from idle_md.train.closed_form.adaptation import KEY, Adaptation
from idle_md.train.closed_form.correction import Features
from idle_md.train.closed_form.differences import internal_displacements
from idle_md.train.closed_form.projection import Projection
from idle_md.train.closed_form.tangent import Tangent

KEPT = 1024  # columns of projected features
DIRECTIONS = 4  # of each candidate, which stand for all of them
MOST = 4000  # candidates that are looked at
NOISE = 0.01  # of slopes, in units of their prior variance, before anything is labelled


class LeastVariance:
    """Chooses geometries that leave the least variance of forces over all candidates.

    Parameters
    ----------
    models
        One checkpoint or run folder. One that ``adapt`` made knows what to expect of the difference
        of its levels; with another one, all parts of its network are expected to change alike.
    seed
        Of projections and directions, and of which candidates are looked at if there are many.

    Raises
    ------
    FileNotFoundError, ValueError
        If it cannot be read, or it is not one.
    """

    def __init__(self, models: Sequence[Path], seed: int = 0) -> None:
        checkpoints = [checkpoint for model in models for checkpoint in checkpoints_of(model)]
        if len(checkpoints) != 1:
            raise ValueError(
                f"variance is that of one model, and {len(checkpoints)} were given: give one "
                "checkpoint, of the low level or made by `adapt`"
            )
        potential, about = load_checkpoint(checkpoints[0])
        self._generator = torch.Generator().manual_seed(seed)
        self._adaptation = Adaptation.of(about) if KEY in about else None
        base = potential.alone(str(about["target"]))
        self._tangent = Tangent(base)
        if self._adaptation is not None:
            self._tangent = Tangent(self._adaptation.base, self._adaptation.prior.changes)
        self._projection = Projection(self._tangent.n_columns, KEPT, seed)

    def choose(self, store: Store, candidates: Indices, n: int, known: Indices) -> Indices:
        """Return n of the candidates in the order of choice, of molecules with few labels first.

        Parameters are those of :func:`idle_md.label.selection.choose`.
        """
        order = torch.randperm(len(candidates), generator=self._generator).numpy()
        candidates = candidates[order[: max(n, MOST)]]
        tensors = GeometryTensors(store, self._tangent.potential.backbone.cutoff, [], torch.float64)
        features = self._features(tensors, candidates)
        some = [self._rows(features, tensors, i, DIRECTIONS) for i in candidates]
        rows = torch.stack([each for each, _ in some])
        shares = torch.tensor([share for _, share in some])
        variance = torch.eye(KEPT)
        for index in known:
            variance = _known(variance, self._rows(features, tensors, index, None)[0])
        everything = (rows / shares.sqrt()[:, None, None]).flatten(0, 1)
        judged = everything.T @ everything
        groups = np.unique(store.group, return_inverse=True)[1]
        count = np.bincount(groups[known], minlength=int(groups.max()) + 1)
        groups, left, chosen = groups[candidates], np.ones(len(candidates), bool), []
        for _ in range(n):
            fewest = left & (count[groups] == count[groups[left]].min())
            eligible = np.flatnonzero(fewest)
            gains = _gains(variance, rows[eligible], variance @ judged @ variance)
            gains = gains / shares[eligible]
            best = int(eligible[int(gains.argmax())])
            variance = _known(variance, self._rows(features, tensors, candidates[best], None)[0])
            left[best] = False
            count[groups[best]] += 1
            chosen.append(best)
        return candidates[chosen]

    def _features(self, tensors: GeometryTensors, candidates: Indices) -> Features:
        """Return features over the noise of slopes, by the prior of a closed form or a flat one."""
        if self._adaptation is not None:
            prior = self._adaptation.prior
            noise = max(prior.noise[1], 1e-12) ** 0.5
            factors = {name: factor / noise for name, factor in prior.factors.items()}
            return Features(self._tangent, factors, self._projection)
        columns = self._tangent.columns
        plain = Features(self._tangent, dict.fromkeys(columns, 1.0))
        some = candidates[:: -(-len(candidates) // 50)]
        rows = [self._rows(plain, tensors, index, DIRECTIONS)[0] for index in some]
        sizes = torch.cat(rows).square().mean(0)
        unit = len(columns) ** 0.5 * NOISE**0.5
        factors = {
            name: float(sizes[part].sum().clamp(min=1e-300)) ** -0.5 / unit
            for name, part in columns.items()
        }
        return Features(self._tangent, factors, self._projection)

    def _rows(
        self, features: Features, tensors: GeometryTensors, index: int, count: int | None
    ) -> tuple[Tensor, float]:
        """Return features of slopes along random directions of a geometry, and the share of them.

        That is the number of directions over those that there are; with ``None`` they are all.
        """
        batch = tensors.batch([index])
        periodic = bool((batch.shifts != 0).any())
        moves = internal_displacements(batch.positions, periodic, self._generator)
        rows = features(batch, moves[:count])[1:]
        share = len(rows) / len(moves) if len(moves) else 1.0
        if count is not None:
            rows = torch.cat([rows, rows.new_zeros(count - len(rows), rows.shape[1])])
        return rows, share


def _known(variance: Tensor, rows: Tensor) -> Tensor:
    """Return the variance (D, D) of weights once slopes with features (K, D) are known."""
    seen = rows @ variance
    noisy = seen @ rows.T + torch.eye(len(rows), dtype=rows.dtype)
    less: Tensor = variance - seen.T @ torch.linalg.solve(noisy, seen)
    return less


def _gains(variance: Tensor, rows: Tensor, judged: Tensor) -> Tensor:
    """Return by how much geometries (C, K, D) would lower the variance that is judged (C,)."""
    own = (rows @ variance) @ rows.mT + torch.eye(rows.shape[1], dtype=rows.dtype)
    gained = (rows @ judged) @ rows.mT
    gains: Tensor = torch.linalg.solve(own, gained).diagonal(dim1=1, dim2=2).sum(1)
    return gains
