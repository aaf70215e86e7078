"""Backbones, fidelity heads and the potential they make up."""

from idle_md.nn.backbone import Backbone, BackboneSection, edge_geometry
from idle_md.nn.checkpoint import levels, load_checkpoint, save_checkpoint
from idle_md.nn.gmnn.network import GMNN
from idle_md.nn.heads import FidelityHeads
from idle_md.nn.hipnn.network import HIPNN
from idle_md.nn.painn.network import PaiNN
from idle_md.nn.potential import Potential
from idle_md.nn.radial import RadialBasis
from idle_md.nn.registry import BACKBONES, backbone_class, backbone_names, make_backbone

__all__ = [
    "BACKBONES",
    "GMNN",
    "HIPNN",
    "Backbone",
    "BackboneSection",
    "FidelityHeads",
    "PaiNN",
    "Potential",
    "RadialBasis",
    "backbone_class",
    "backbone_names",
    "edge_geometry",
    "levels",
    "load_checkpoint",
    "make_backbone",
    "save_checkpoint",
]
