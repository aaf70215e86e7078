"""Steps that are recorded once and replayed, with a stand-in for CUDA graphs."""

import copy
import logging

import pytest
import torch
from torch import Tensor

from idle_md.deploy.replay import WARM_UP, Replayed
from tests.recorded import Recording, take_the_place_of_graphs

CPU = torch.device("cpu")


@pytest.fixture
def recordings(monkeypatch) -> type[Recording]:
    return take_the_place_of_graphs(monkeypatch)


class Calls:
    """A function whose calls are counted: the work of a replay is none."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, points: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        self.count += 1
        squares = points.square() * scale
        return squares.sum(), squares


def test_calls_of_one_kind_are_recorded_once(recordings, caplog) -> None:
    function = Calls()
    replayed = Replayed(function, CPU)
    with caplog.at_level(logging.INFO):
        for step in range(WARM_UP + 4):
            points = torch.randn(3 if step else 4, 3)  # the first kind comes once
            total, squares = replayed(points)
            torch.testing.assert_close(squares, points.square(), rtol=0, atol=0)
            torch.testing.assert_close(total, points.square().sum())
    assert function.count == 1 + WARM_UP + 1
    [recording] = recordings.made
    assert recording.replays == 3
    assert caplog.messages == ["steps are replayed as a CUDA graph"]


def test_outputs_and_inputs_are_the_callers(recordings) -> None:
    replayed = Replayed(Calls(), CPU)
    points = torch.ones(2, 3)
    for _ in range(WARM_UP):
        replayed(points)
    first = replayed(points)[1]
    second = replayed(2.0 * points)[1]
    assert torch.equal(first, torch.ones(2, 3))
    assert torch.equal(second, torch.full((2, 3), 4.0))
    assert torch.equal(points, torch.ones(2, 3))
    assert recordings.made[0].replays == 2


@pytest.mark.parametrize(
    "other", [(torch.ones(4, 3),), (torch.ones(2, 3).double(),), (torch.ones(2, 3), 3.0)]
)
def test_another_kind_is_recorded_anew(recordings, other) -> None:
    function = Calls()
    replayed = Replayed(function, CPU)
    for _ in range(2 * WARM_UP):
        replayed(torch.ones(2, 3))
    assert function.count == WARM_UP + 1
    expected = Calls()(*other)
    for _ in range(2 * WARM_UP):
        found = replayed(*other)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert function.count == 2 * (WARM_UP + 1)
    assert len(recordings.made) == 2
    replayed(torch.ones(2, 3))  # whose graph is gone
    assert function.count == 2 * (WARM_UP + 1) + 1


def test_forgotten_graph_is_recorded_anew(recordings) -> None:
    replayed = Replayed(Calls(), CPU)
    for _ in range(WARM_UP + 1):
        replayed(torch.ones(2, 3))
    replayed.forget()
    for _ in range(WARM_UP + 1):
        replayed(torch.ones(2, 3))
    assert [each.replays for each in recordings.made] == [1, 1]


def test_what_cannot_be_recorded_runs_as_it_is(recordings, caplog) -> None:
    recordings.is_refused = True
    function = Calls()
    replayed = Replayed(function, CPU)
    with caplog.at_level(logging.INFO):
        for step in range(2 * WARM_UP):
            points = torch.full((2, 3), float(step))
            assert torch.equal(replayed(points)[1], points.square())
    assert function.count == 2 * WARM_UP
    assert caplog.messages == [
        "no CUDA graph is used, steps take longer: operation not permitted when stream is capturing"
    ]


def test_errors_of_the_function_are_not_hidden(recordings) -> None:
    def fails(points: Tensor) -> tuple[Tensor]:
        raise ValueError("the atoms have flown apart")

    with pytest.raises(ValueError, match="flown apart"):
        Replayed(fails, CPU)(torch.ones(1))


def test_copies_have_graphs_of_their_own(recordings) -> None:
    replayed = Replayed(Calls(), CPU)
    for _ in range(WARM_UP + 1):
        replayed(torch.ones(2, 3))
    other = copy.deepcopy(replayed)
    assert other.function.count == replayed.function.count
    other(torch.ones(2, 3))
    assert len(recordings.made) == 1
    assert other.function.count == replayed.function.count + 1
