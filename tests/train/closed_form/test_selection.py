"""Choice by the variance that is left: against writing the posterior out, and misuse."""

from pathlib import Path

import numpy as np
import pytest
import torch

from idle_md.data import Store
from idle_md.train import LeastVariance
from idle_md.train.closed_form.selection import _gains, _known


def features(n: int, width: int = 12, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, width, generator=generator, dtype=torch.float64)


def left(rows: torch.Tensor, known: torch.Tensor) -> float:
    """Sum of the posterior variances of all slopes, by the kernel alone; unit noise."""
    everything, seen = rows.flatten(0, 1), known.flatten(0, 1)
    cross = everything @ seen.T
    noisy = seen @ seen.T + torch.eye(len(seen), dtype=seen.dtype)
    explained = (cross @ torch.linalg.inv(noisy) * cross).sum(1)
    return float((everything.square().sum(1) - explained).sum())


def test_gain_is_what_knowing_a_geometry_takes_off_the_variance() -> None:
    rows = features(8)
    everything = rows.flatten(0, 1)
    variance = _known(torch.eye(12, dtype=rows.dtype), rows[3])
    gains = _gains(variance, rows, variance @ everything.T @ everything @ variance)
    before = left(rows, rows[3:4])
    for index, gain in enumerate(gains.tolist()):
        after = left(rows, rows[[3, index]])
        assert gain == pytest.approx(before - after)


def test_chosen_tell_more_than_others(pretrained: Path, small_store: Path) -> None:
    store = Store.read(small_store)
    candidates = np.flatnonzero(store.role == "train")[::8]
    known = candidates[:2]
    chosen = LeastVariance([pretrained]).choose(store, candidates[2:], 6, known)
    assert len(set(chosen.tolist())) == 6
    assert not set(chosen) & set(known)
    names, counts = np.unique(store.group[np.concatenate([known, chosen])], return_counts=True)
    assert len(names) == 2
    assert abs(counts[0] - counts[1]) <= 1  # those with fewer labels come first
    again = LeastVariance([pretrained]).choose(store, candidates[2:], 6, known)
    assert chosen.tolist() == again.tolist()


def test_one_model_is_needed(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 were given: give one checkpoint"):
        LeastVariance([pretrained, pretrained])
    with pytest.raises(ValueError, match="0 were given"):
        LeastVariance([])
    with pytest.raises(FileNotFoundError):
        LeastVariance([tmp_path / "none.ckpt"])
