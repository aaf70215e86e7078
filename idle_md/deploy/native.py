"""Native operators: found, loaded, and put in the place of a portable graph."""

import logging
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from idle_md.deploy.committee import CommitteeCore
from idle_md.deploy.core import DeployedCore
from idle_md.deploy.metadata import Metadata
from idle_md.deploy.torchscript import script

LIBRARY = "libidle_md_ops.so"
VARIABLE = "IDLE_MD_OPS"
"""Environment variable with the path of a library, before all places that are searched."""
REMEDY = "`idle-md build-plugins` compiles them"

Kernels = Literal["auto", "native", "portable"]

logger = logging.getLogger(__name__)


def places() -> list[Path]:
    """Return where the library for this torch is looked for, and built to: the first that can be.

    The environment that Python runs in, then the user's cache.
    """
    name = f"torch-{torch.__version__.replace('+', '-')}"
    return [
        Path(sys.prefix) / "lib" / "idle_md" / name / LIBRARY,
        cache_folder() / name / LIBRARY,
    ]


def cache_folder() -> Path:
    """Return the user's cache of this package; it need not be there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "idle_md"


def find_library() -> Path | None:
    """Return the library of operators, or None where there is none for this torch."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    return next((place for place in places() if place.is_file()), None)


@lru_cache(maxsize=1)
def load_operators() -> bool:
    """Load ``torch.ops.idle_md``, once; return whether it is there, and warn if it is not."""
    library = find_library()
    if library is None:
        logger.warning("native operators are not built, models run slower: %s", REMEDY)
        return False
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        logger.warning("the native operators in %s cannot be loaded: %s", library, error)
        return False
    return True


class PaiNNKernel(nn.Module):
    """The native form of :class:`~idle_md.deploy.painn_gradient.PaiNNGradient`.

    Parameters
    ----------
    model
        A ``torch.classes.idle_md.PaiNN``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return atomic energies (N,) and edge gradients (E, 3), see the edge contract."""
        energies, gradients = torch.ops.idle_md.painn_energy_gradient(
            self.model, species, edge_index, edge_vectors, n_owned
        )
        return energies, gradients


def why_portable(metadata: Metadata, device: torch.device) -> str | None:
    """Return why a model cannot run on native operators, or None if it can."""
    if metadata.backbone["name"] != "painn":
        return f"there are none for {metadata.backbone['name']}"
    if device.type != "cpu":
        return f"there are none for {device.type}"
    if metadata.backbone["features"] % 16:
        return "they need a multiple of 16 features"
    if not load_operators():
        return f"they are not built: {REMEDY}"
    return None


def native_core(core: torch.jit.ScriptModule, metadata: Metadata) -> torch.jit.ScriptModule:
    """Return a deployed core with the same weights and native operators instead of its graph."""

    def kernel(gradient: torch.jit.ScriptModule) -> PaiNNKernel:
        weights = {name: buffer.contiguous() for name, buffer in gradient.named_buffers()}
        is_bessel = metadata.backbone["radial"] == "bessel"
        tabulated = weights["embedding"].dtype == torch.float32  # as exact as its precision
        cutoff = metadata.cutoff_angstrom
        return PaiNNKernel(torch.classes.idle_md.PaiNN(weights, cutoff, is_bessel, tabulated))

    native: DeployedCore | CommitteeCore
    if metadata.members == 1:
        native = DeployedCore(kernel(core.gradient), core.constants)
    else:
        gradients = zip(core.gradients.children(), core.constants.unbind(1), strict=True)
        native = CommitteeCore([DeployedCore(kernel(each), column) for each, column in gradients])
    native.metadata = core.metadata
    return script(native.eval())
