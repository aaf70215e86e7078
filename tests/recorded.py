"""A stand-in for CUDA graphs on the CPU: what is recorded runs again on the same memory."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recording(TorchDispatchMode):
    """In the place of ``torch.cuda.CUDAGraph``: operations between capture and its end.

    Attributes
    ----------
    made
        All that there have been since they were taken in the graphs' place.
    replays
        Of this one.
    """

    made: "list[Recording]"
    is_refused = False
    """Whether there is something that cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, ...]] = []
        self.replays = 0
        self.made.append(self)

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        found = function(*arguments, **(options or {}))
        self.operations.append((function, arguments, options or {}, found))
        return found

    def replay(self) -> None:
        self.replays += 1
        for function, arguments, options, kept in self.operations:
            with torch.no_grad():
                again = function(*arguments, **options)
            for place, now in zip(tree_leaves(kept), tree_leaves(again), strict=True):
                if isinstance(place, Tensor) and place.data_ptr() != now.data_ptr():
                    place.copy_(now)


class Stream:
    """In the place of ``torch.cuda.Stream``: knows which others it was told to wait for."""

    def __init__(self) -> None:
        self.waits: list[Stream] = []

    def wait_stream(self, other: "Stream") -> None:
        self.waits.append(other)


@contextmanager
def capture(recording: Recording, capture_error_mode: str) -> Iterator[None]:
    assert capture_error_mode == "thread_local"
    if recording.is_refused:
        raise RuntimeError("operation not permitted when stream is capturing\nand more of that")
    with recording:
        yield


def take_the_place_of_graphs(monkeypatch: pytest.MonkeyPatch) -> type[Recording]:
    """Have recordings made where CUDA graphs would be; return their class, new for every test."""

    class Own(Recording):
        made: list[Recording] = []  # noqa: RUF012

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Own)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    only = Stream()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: only)
    return Own
