"""Checkpoints of a potential: weights and plain metadata, nothing that executes."""

from pathlib import Path
from typing import Any

import torch

from idle_md.files import replacing
from idle_md.models import checkpoint_path
from idle_md.nn.potential import Potential
from idle_md.run_folder import RunFolder

FORMAT = 1
ADAPTED_FROM = "adapted_from"  # in the metadata: the content of another checkpoint


Content = dict[str, Any]
"""What a checkpoint holds: plain values and tensors."""
Levels = dict[str, tuple[Potential, dict[str, Any]]]
"""Fidelities, each with the model that knows it and its metadata."""


def packed(potential: Potential, metadata: dict[str, Any]) -> Content:
    """Return a potential and its metadata (plain values and tensors) as what a file holds."""
    return {
        "idle_md_checkpoint": FORMAT,
        "hyperparameters": potential.hyperparameters,
        "dtype": str(potential.dtype).removeprefix("torch."),
        "state_dict": potential.state_dict(),
        "metadata": metadata,
    }


def unpacked(content: Content) -> tuple[Potential, dict[str, Any]]:
    """Return a potential and its metadata from what :func:`packed` gave."""
    potential = Potential.from_hyperparameters(content["hyperparameters"])
    potential.to_precision(getattr(torch, content["dtype"]))
    potential.load_state_dict(content["state_dict"])
    return potential, content["metadata"]


def levels(potential: Potential, metadata: dict[str, Any]) -> Levels:
    """Return all fidelities of a checkpoint, each with the model that knows it and its metadata.

    That is the checkpoint's own model, or one that it was adapted from.
    """
    before = levels(*unpacked(metadata[ADAPTED_FROM])) if ADAPTED_FROM in metadata else {}
    return before | dict.fromkeys(potential.fidelities, (potential, metadata))


def adapted_from(metadata: dict[str, Any], fidelity: str) -> Potential:
    """Return the model that a checkpoint was adapted from, with one of the levels it knew alone."""
    known = levels(*unpacked(metadata[ADAPTED_FROM]))
    return known[fidelity][0].alone(fidelity)


def save_checkpoint(path: Path | str, potential: Potential, metadata: dict[str, Any]) -> None:
    """Write a potential and its metadata (plain values and tensors) to a file, atomically."""
    with replacing(path) as temporary:
        torch.save(packed(potential, metadata), temporary)


def load_checkpoint(path: Path | str) -> tuple[Potential, dict[str, Any]]:
    """Read a potential and its metadata from a file, or those of a model of the package by name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a checkpoint of this format.
    """
    path = checkpoint_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: `idle-md train` writes {RunFolder.BEST}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is not a readable checkpoint (truncated, or not written by `idle-md train`)"
        ) from error
    if not isinstance(content, dict) or content.get("idle_md_checkpoint") != FORMAT:
        raise ValueError(
            f"{path} is not an idle_md checkpoint of format {FORMAT}: "
            f"give the {RunFolder.BEST} of a run folder"
        )
    return unpacked(content)
