"""From the content of a file to a model that runs, and so from one process to another."""

import copyreg
import logging
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import torch

from idle_md.deploy.core import lone_atoms
from idle_md.deploy.kernels import Kernels, native_core, why_portable
from idle_md.deploy.metadata import Metadata
from idle_md.deploy.model import DeployedModel
from idle_md.deploy.torchscript import from_bytes
from idle_md.devices import find_device

logger = logging.getLogger(__name__)


def takes_native(path: Path, metadata: Metadata, device: torch.device, kernels: Kernels) -> bool:
    """Decide between native operators and the portable graph, and log it.

    Raises
    ------
    ValueError
        If the kernels are unknown, or native ones asked for and not to be had.
    """
    if kernels not in get_args(Kernels):
        raise ValueError(f"unknown kernels {kernels!r}: use {', '.join(get_args(Kernels))}")
    reason = "asked for" if kernels == "portable" else why_portable(metadata, device)
    if kernels == "native" and reason is not None:
        raise ValueError(f"{path} cannot run on native operators: {reason}")
    which = "native operators" if reason is None else f"the portable graph ({reason})"
    logger.info("%s runs on %s", path, which)
    return reason is None


def _cast(core: torch.jit.ScriptModule, dtype: torch.dtype) -> None:
    """Change the precision of the networks; totals stay in float64."""
    constants = core.constants
    core.to(dtype)
    core.constants = constants


def assembled(
    content: bytes,
    metadata: Metadata,
    device: torch.device,
    dtype: torch.dtype,
    native: bool,
    relative: bool,
) -> DeployedModel:
    """Return the model of a file's content.

    Parameters
    ----------
    content, metadata
        Checked already.
    device, dtype, native, relative
        How it is to run, see :func:`idle_md.deploy.load`.
    """
    _survive_forks()
    core = from_bytes(content, device)
    _cast(core, dtype)
    if native:
        core = native_core(core, metadata)
    if relative:
        _leave_out_lone_atoms(core, metadata, dtype)
        none = dict.fromkeys(metadata.elements, 0.0)
        metadata = metadata.model_copy(update={"reference_energies_ev": none})
    kernels = "native" if native else "portable"
    return DeployedModel(core, metadata, device, dtype, kernels, relative, content)


@torch.no_grad()
def _leave_out_lone_atoms(
    core: torch.jit.ScriptModule, metadata: Metadata, dtype: torch.dtype
) -> None:
    """Take the energies of atoms without neighbours from a core's constants (Z,) or (Z, M)."""
    constants = core.constants
    numbers = torch.tensor(metadata.elements, device=constants.device)
    evaluate = core if metadata.members == 1 else core.members
    constants[numbers] -= lone_atoms(evaluate, numbers, dtype)


@lru_cache(maxsize=1)
def _survive_forks() -> None:
    """Let forked processes run on one thread: torch waits for ever for those of their parent."""
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def _pickled(model: DeployedModel) -> tuple[Callable[..., DeployedModel], tuple[Any, ...]]:
    """Return a model's file and how to run it: what has been compiled stays here."""
    if model.content is None:
        raise TypeError("the model was not read from a file: pickle one that `idle_md.load` gave")
    native = model.kernels == "native"
    parts = model.content, model.metadata, str(model.device), model.dtype, native, model.relative
    return _unpickled, parts


def _unpickled(
    content: bytes,
    metadata: Metadata,
    device: str,
    dtype: torch.dtype,
    native: bool,
    relative: bool,
) -> DeployedModel:
    where = find_device(device)
    if native:
        native = takes_native(Path("the pickled model"), metadata, where, "auto")
    return assembled(content, metadata, where, dtype, native, relative)


copyreg.pickle(DeployedModel, _pickled)
