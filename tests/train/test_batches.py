import numpy as np
import pytest

from idle_md.train.batches import BatchStream, ShuffledPool


def test_every_pass_visits_all_once_in_a_new_order() -> None:
    pool = ShuffledPool(np.arange(10, 17), (3, 0))
    passes = pool.take(0, 21).reshape(3, 7)
    for row in passes:
        assert sorted(row) == list(range(10, 17))
    assert len({tuple(row) for row in passes}) == 3


def test_batches_depend_on_their_number_alone() -> None:
    def stream() -> BatchStream:
        return BatchStream(np.arange(5), np.arange(5, 40), 8, 0.25, seed=1)

    forward = [stream()[k] for k in range(30)]
    one = stream()
    for k in reversed(range(30)):
        np.testing.assert_array_equal(one[k], forward[k])


def test_target_share() -> None:
    target, others = np.arange(5), np.arange(5, 400)
    stream = BatchStream(target, others, 20, 0.2, seed=0)
    for k in range(10):
        assert np.isin(stream[k], target).sum() == 4
        assert len(stream[k]) == 20


def test_target_alone_fills_the_batch() -> None:
    stream = BatchStream(np.arange(30), np.empty(0, np.int64), 8, 0.2, seed=0)
    assert len(np.unique(stream[0])) == 8


def test_no_target_label() -> None:
    with pytest.raises(ValueError, match="no training geometry has a label of the target"):
        BatchStream(np.empty(0, np.int64), np.arange(9), 4, 0.2, seed=0)
