"""What a GPU's figures belong to: card, driver, versions, commit and date.

python benchmarks/gpu/machine.py [--json FILE]
"""

import datetime
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Annotated

import torch
import typer
from figures import write

from idle_md.native.operators import why_no_cuda

PACKAGES = ("torch", "openmm", "openmmtorch", "openmmml", "vesin", "idle-md")


def main(output: Annotated[Path | None, typer.Option("--json")] = None) -> None:
    """Print and write."""
    found = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": said("git", "rev-parse", "HEAD"),
        "python": platform.python_version(),
        "cuda_of_torch": torch.version.cuda,
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "driver": said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "nvcc": said("nvcc", "--version").rpartition("release ")[2].split(",")[0],
        "versions": {name: version for name in PACKAGES if (version := installed(name))},
        "native_operators_on_the_gpu": why_no_cuda() or "yes",
    }
    print(json.dumps(found, indent=2))
    write(output, "machine", found)


def said(*command: str) -> str:
    """Return what a program prints, or nothing where it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def installed(name: str) -> str | None:
    """Return the version of a package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    typer.run(main)
