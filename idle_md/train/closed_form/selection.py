"""Which geometries tell a closed form most, before any of them is labelled.

Greedy choice by the variance of forces that is left over all candidates (Cohn, Neural Networks 9,
1071, 1996), which depends on the features and not on the labels.
"""

from collections.abc import Iterable, Sequence
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

KEPT = 4096  # columns of projected features
DIRECTIONS = 4  # of each candidate, which stand for all of them
MOST = 3000  # candidates that are looked at
AT_ONCE = 256  # candidates whose gains are found together
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
        labelled = (self._rows(features, tensors, index, None)[0] for index in known)
        left = LeftVariance(rows, shares, labelled)
        groups = np.unique(store.group, return_inverse=True)[1]
        count = np.bincount(groups[known], minlength=int(groups.max()) + 1)
        groups, free, chosen = groups[candidates], np.ones(len(candidates), bool), []
        for _ in range(n):
            fewest = free & (count[groups] == count[groups[free]].min())
            gains = left.gains() / shares
            best = int(gains.where(torch.from_numpy(fewest), -torch.inf).argmax())
            left.know(self._rows(features, tensors, candidates[best], None)[0])
            free[best] = False
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


class LeftVariance:
    """The covariance of slopes of all candidates that is left once some slopes are known.

    Weights have the prior variance 1, and so has the noise of slopes. What is known at first is in
    the features from the beginning, in memory that does not grow with it.

    Parameters
    ----------
    rows
        Features of slopes of the candidates, (C, K, D).
    shares
        Which share of the slopes of a candidate they are, (C,).
    known
        Features of the slopes of geometries that are known at first, (K, D) each.
    """

    def __init__(self, rows: Tensor, shares: Tensor, known: Iterable[Tensor] = ()) -> None:
        precision = torch.eye(rows.shape[-1], dtype=rows.dtype)
        for one in known:
            precision.addmm_(one.T, one)
        self._root = torch.linalg.cholesky(precision)
        self._shape = rows.shape[:2]
        self._weights = 1.0 / shares.to(rows).repeat_interleave(rows.shape[1])
        self._rows = self._whitened(rows.flatten(0, 1))
        self._covariance = self._rows @ self._rows.T
        self._learned = self._rows.new_zeros(0, rows.shape[-1])

    def _whitened(self, rows: Tensor) -> Tensor:
        """Return rows (n, D) for weights of which what was known at first is part of the prior."""
        found: Tensor = torch.linalg.solve_triangular(self._root, rows.T, upper=False).T
        return found

    def know(self, rows: Tensor) -> None:
        """Take in slopes of another geometry with features (K, D)."""
        rows = self._whitened(rows)
        # Directions of weights that are known already are taken out, as by Gram and Schmidt.
        inner = rows @ self._learned.T
        noisy = rows @ rows.T - inner @ inner.T + torch.eye(len(rows), dtype=rows.dtype)
        new = rows - inner @ self._learned
        new = torch.linalg.solve_triangular(torch.linalg.cholesky(noisy), new, upper=False)
        cross = self._rows @ new.T
        self._covariance.addmm_(cross, cross.T, alpha=-1)
        self._learned = torch.cat([self._learned, new])

    def gains(self) -> Tensor:
        """Return by how much the slopes of each candidate would lower the variance of all (C,)."""
        count, each = self._shape
        own = self._covariance.view(count, each, count, each).diagonal(dim1=0, dim2=2)
        noisy = own.permute(2, 0, 1) + torch.eye(each, dtype=own.dtype)
        blocks = self._covariance.view(count, each, -1).split(AT_ONCE)
        gained = torch.cat([(block * self._weights) @ block.mT for block in blocks])
        gains: Tensor = torch.linalg.solve(noisy, gained).diagonal(dim1=1, dim2=2).sum(1)
        return gains
