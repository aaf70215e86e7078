"""Backbones, fidelity heads and the potential they make up."""

from idle_md.nn.backbone import Backbone
from idle_md.nn.checkpoint import load_checkpoint, save_checkpoint
from idle_md.nn.gmnn.network import GMNN
from idle_md.nn.heads import FidelityHeads
from idle_md.nn.hipnn.network import HIPNN
from idle_md.nn.painn.network import PaiNN
from idle_md.nn.potential import Potential
from idle_md.nn.radial import RadialBasis
from idle_md.nn.registry import BACKBONES

__all__ = [
    "BACKBONES",
    "GMNN",
    "HIPNN",
    "Backbone",
    "FidelityHeads",
    "PaiNN",
    "Potential",
    "RadialBasis",
    "load_checkpoint",
    "save_checkpoint",
]
