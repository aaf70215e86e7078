"""Files that idle_md 0.1 wrote, and the numbers that it computed from them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idle_md.tolerances import ENERGY, RELATIVE, SMALLEST_FORCE

FILES = Path(__file__).with_name("files_of_0_1")


@pytest.fixture(scope="session")
def files() -> Path:
    return FILES


@pytest.fixture(scope="session")
def numbers() -> dict[str, Any]:
    """What idle_md 0.1 computed."""
    content: dict[str, Any] = json.loads(gzip.decompress((FILES / "numbers.json.gz").read_bytes()))
    return content


@pytest.fixture(scope="session")
def structures(numbers: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Numbers, positions, cell and periodicity of what the models were evaluated on."""
    return {
        name: (s["numbers"], np.array(s["positions"]), np.array(s["cell"]), s["pbc"])
        for name, s in numbers["structures"].items()
    }


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Compare an energy in eV and forces (N, 3) in eV/angstrom with kept ones."""

    def check(
        energy: float, forces: Any, kept: dict[str, Any], dtype: torch.dtype, factor: float = 1.0
    ) -> None:
        expected = np.array(kept["forces"])
        assert abs(energy - kept["energy"]) <= factor * ENERGY[dtype] * len(expected)
        scale = max(SMALLEST_FORCE, float(np.sqrt(np.mean(expected**2))))
        assert np.abs(np.asarray(forces) - expected).max() <= factor * RELATIVE[dtype] * scale

    return check
