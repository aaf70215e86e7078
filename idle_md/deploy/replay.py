"""Steps on a GPU, recorded once as a CUDA graph and replayed."""

import logging
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

WARM_UP = 5
"""Calls with arguments of the same kind before they are recorded: TorchScript optimises itself."""

logger = logging.getLogger(__name__)


class Replayed:
    """A function on a GPU whose work is recorded as a CUDA graph, which is one launch from then on.

    A graph is good for arguments of the same kind: tensors of a shape and precision, and what else
    is equal. Others run as they are until they have come :data:`WARM_UP` times in a row; then
    their graph takes the place of the last one, whose memory is freed. A function that cannot be
    recorded runs as it is, and a log line says why.

    Parameters
    ----------
    function
        Takes tensors on the GPU, and what can be compared; returns tensors. It waits for nothing,
        and keeps the memory that it has of its own while the arguments are of the same kind.
    device
        The GPU.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], device: torch.device) -> None:
        self.function, self.device = function, device
        self._lock = Lock()
        self._can_be_recorded = True
        self._stream: torch.cuda.Stream | None = None
        self._kind: tuple[Any, ...] | None = None
        self.forget()

    def __reduce__(self) -> tuple[Any, ...]:
        return Replayed, (self.function, self.device)

    def forget(self) -> None:
        """Drop the graph, because the function has got other memory."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Any] = []
        self._outputs: tuple[Tensor, ...] = ()
        self._calls = 0

    def __call__(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Return what the function returns, in memory of its own; tensors may be anywhere."""
        with self._lock:
            self._follow(torch.cuda.current_stream(self.device))
            kind = tuple(map(_kind, arguments))
            if kind != self._kind:
                self.forget()
                self._kind = kind
            if self._graph is None and self._can_be_recorded and self._calls == WARM_UP:
                self._record(arguments)
            self._calls += 1
            if self._graph is None:
                return self.function(*(_moved(each, self.device) for each in arguments))
            for place, given in zip(self._inputs, arguments, strict=True):
                if isinstance(place, Tensor):
                    place.copy_(given)
            self._graph.replay()
            return tuple(output.clone() for output in self._outputs)

    def _follow(self, stream: torch.cuda.Stream) -> None:
        """Have the caller's stream wait for that of the last call, whose memory it writes to."""
        if self._stream is not None and stream != self._stream:
            stream.wait_stream(self._stream)
        self._stream = stream

    def _record(self, arguments: tuple[Any, ...]) -> None:
        inputs = [_moved(each, self.device, copy=True) for each in arguments]
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                torch.cuda.device(self.device),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),  # engines have threads
            ):
                outputs = self.function(*inputs)
        except RuntimeError as error:
            self._can_be_recorded = False
            reason = str(error.__context__ or error).splitlines()[0]
            logger.info("no CUDA graph is used, steps take longer: %s", reason)
            return
        self._graph, self._inputs, self._outputs = graph, inputs, tuple(outputs)
        logger.info("steps are replayed as a CUDA graph")


def _kind(argument: Any) -> Any:
    return (argument.shape, argument.dtype) if isinstance(argument, Tensor) else argument


def _moved(argument: Any, device: torch.device, copy: bool = False) -> Any:
    return argument.to(device, copy=copy) if isinstance(argument, Tensor) else argument
