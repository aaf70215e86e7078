from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.plugins.cuda.emulated import Emulated, Shape, compile_library

SHAPES = {
    "few atoms": Shape("double", 48, 20, 9, False, 1, 64, 4),
    "many atoms": Shape("double", 48, 20, 9, False, 16, 64, 1),
    "tables": Shape("float", 48, 20, 6, True, 4, 64, 2),
    "no head": Shape("double", 16, 0, 9, False, 2, 32, 2),
    "TF32": Shape("float", 48, 24, 6, True, 16, 64, 1, True),
    "as on a GPU": Shape("float", 128, 64, 6, True, 1, 512, 4),
}
"""By what is special about them; most have few threads, because each one is a fiber."""


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    """The kernels, compiled for the shapes."""
    folder = tmp_path_factory.mktemp("emulated")
    return Emulated(compile_library(folder, list(SHAPES.values())))


@pytest.fixture(scope="session")
def gradient_of(make_potential) -> Callable[..., torch.nn.Module]:
    """The portable graph of a random model with a head of so many hidden units."""

    def make(features: int = 48, hidden: int = 20, **settings) -> torch.nn.Module:
        potential = make_potential(
            fidelities=("high",), features=features, hidden=hidden, **settings
        )
        backbone = potential.backbone
        return torch.jit.script(backbone.gradient(*potential.heads.folded("high")).eval())

    return make


def weights_of(gradient: torch.nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: each.to(dtype).contiguous() for name, each in gradient.named_buffers()}


def sources() -> Path:
    """The operators, CUDA kernels included."""
    return Path(__file__).parents[3] / "plugins" / "ops"
