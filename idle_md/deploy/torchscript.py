"""Modules to TorchScript, and TorchScript to bytes and back."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch


@contextmanager
def _torchscript() -> Iterator[None]:
    """Silence newer torch, which recommends torch.export: none of the engines can load that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`?torch.jit.*deprecated", DeprecationWarning)
        yield


def script(module: torch.nn.Module) -> torch.jit.ScriptModule:
    """Compile a module to TorchScript.

    Raises
    ------
    ValueError
        If there is something in it that TorchScript does not know.
    """
    with _torchscript():
        try:
            return torch.jit.script(module)
        except RuntimeError as error:
            raise ValueError(
                "the model cannot be compiled to TorchScript, which every engine loads; write the "
                f"`forward` of its backbone in what TorchScript knows: {error}"
            ) from error


def freeze(scripted: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Return a copy with weights and attributes inlined as constants, as TorchForce makes one."""
    with _torchscript():
        frozen: torch.jit.ScriptModule = torch.jit.freeze(scripted.eval())
    return frozen


def flatten(module: torch.nn.Module, keep: Sequence[str]) -> torch.jit.ScriptModule:
    """Compile a module to a single function with its weights as constants.

    Nothing is left of the functions that were put together. An engine that freezes a module frees
    them, and torch 2.9 still reads their names when something raises an error in one.

    Parameters
    ----------
    module
        In evaluation mode.
    keep
        Attributes that stay.
    """
    with _torchscript():
        frozen = torch.jit.freeze(script(module), list(keep))
    return from_bytes(to_bytes(frozen))


def to_bytes(
    scripted: torch.jit.ScriptModule, extra_files: Mapping[str, str] | None = None
) -> bytes:
    """Return a TorchScript module as the bytes of an archive."""
    buffer = io.BytesIO()
    with _torchscript():
        torch.jit.save(scripted, buffer, _extra_files=dict(extra_files or {}))
    return buffer.getvalue()


def from_bytes(content: bytes, device: str | torch.device = "cpu") -> torch.jit.ScriptModule:
    """Return the TorchScript module that an archive holds."""
    with _torchscript():
        module: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(content), map_location=device)
    return module
