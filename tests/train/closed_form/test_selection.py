"""Choice by the variance that is left: against writing the posterior out, and misuse."""

from pathlib import Path

import numpy as np
import pytest
import torch

from idle_md.data import GeometryTensors, Store
from idle_md.train import LeastVariance
from idle_md.train.closed_form.selection import LeftVariance


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


@pytest.mark.parametrize("first", [0, 1, 2])
def test_gain_is_what_knowing_a_geometry_takes_off_the_variance(first: int) -> None:
    """Whatever of it is known from the beginning, or one geometry after the other."""
    rows, others = features(8), features(3, seed=1)
    left_of = LeftVariance(rows, torch.ones(8), others[:first])
    for one in others[first:]:
        left_of.know(one)
    before = left(rows, others)
    for index, gain in enumerate(left_of.gains().tolist()):
        after = left(rows, torch.cat([others, rows[index : index + 1]]))
        assert gain == pytest.approx(before - after)


def test_slopes_that_stand_for_others_count_as_often() -> None:
    rows, shares = features(4), torch.tensor([1.0, 0.5, 0.25, 1.0])
    gains = LeftVariance(rows, shares).gains()
    copies = torch.cat([rows[each : each + 1] for each in (0, 1, 1, 2, 2, 2, 2, 3)])
    before = left(copies, rows[:0])
    for index, gain in enumerate(gains.tolist()):
        assert gain == pytest.approx(before - left(copies, rows[index : index + 1]))


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


def test_few_directions_of_a_geometry_stand_for_all_of_them(
    pretrained: Path, small_store: Path
) -> None:
    store, least = Store.read(small_store), LeastVariance([pretrained])
    tensors, some = GeometryTensors(store, 4.0, [], torch.float64), np.arange(0, 60, 10)
    features = least._features(tensors, some)
    few, every = (
        [least._rows(features, tensors, index, count) for index in some] for count in (4, None)
    )
    for index, (rows, share), (full, whole) in zip(some, few, every, strict=True):
        assert (len(rows), whole) == (4, 1.0)
        assert share == pytest.approx(4 / (3 * store.n_atoms[index] - 6))
        ratio = float(rows.square().sum()) / share / float(full.square().sum())
        assert 1 / 3 < ratio < 3


def test_one_model_is_needed(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 were given: give one checkpoint"):
        LeastVariance([pretrained, pretrained])
    with pytest.raises(ValueError, match="0 were given"):
        LeastVariance([])
    with pytest.raises(FileNotFoundError):
        LeastVariance([tmp_path / "none.ckpt"])
