"""Backbones, fidelity heads and the potential they make up."""

from idle_md.nn.backbone import Backbone
from idle_md.nn.checkpoint import load_checkpoint, save_checkpoint
from idle_md.nn.gmnn import GMNN
from idle_md.nn.heads import FidelityHeads
from idle_md.nn.hipnn import HIPNN
from idle_md.nn.painn import PaiNN
from idle_md.nn.potential import BACKBONES, Potential
from idle_md.nn.radial import RadialBasis

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
