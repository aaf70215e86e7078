"""Checkpoints of a potential: weights and plain metadata, nothing that executes."""

from pathlib import Path
from typing import Any

import torch

from idle_md.files import replacing
from idle_md.nn.potential import Potential
from idle_md.run_folder import RunFolder

FORMAT = 1


def save_checkpoint(path: Path | str, potential: Potential, metadata: dict[str, Any]) -> None:
    """Write a potential and its metadata (plain values) to a file, atomically."""
    content = {
        "idle_md_checkpoint": FORMAT,
        "hyperparameters": potential.hyperparameters,
        "dtype": str(potential.dtype).removeprefix("torch."),
        "state_dict": potential.state_dict(),
        "metadata": metadata,
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path | str) -> tuple[Potential, dict[str, Any]]:
    """Read a potential and its metadata.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a checkpoint of this format.
    """
    path = Path(path)
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
    potential = Potential.from_hyperparameters(content["hyperparameters"])
    potential.to_precision(getattr(torch, content["dtype"]))
    potential.load_state_dict(content["state_dict"])
    return potential, content["metadata"]
