"""Native operators put in the place of a portable graph."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from idle_md.deploy.committee import CommitteeCore
from idle_md.deploy.core import DeployedCore
from idle_md.deploy.metadata import Metadata
from idle_md.deploy.torchscript import script
from idle_md.native.choice import Kernels
from idle_md.native.operators import load_operators, why_no_cuda
from idle_md.native.places import REMEDY

__all__ = ["Kernels", "PaiNNKernel", "native_core", "why_portable"]

logger = logging.getLogger(__name__)


class PaiNNKernel(nn.Module):
    """The native form of :class:`~idle_md.nn.painn.gradient.PaiNNGradient`.

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
    if metadata.closed_form:
        return "there are none for a closed form"
    if metadata.backbone["name"] != "painn":
        return f"there are none for {metadata.backbone['name']}"
    if metadata.backbone["features"] % 16:
        return "they need a multiple of 16 features"
    if device.type == "cuda":
        return why_no_cuda()
    return None if load_operators() else f"they are not built: {REMEDY}"


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
