"""Backbones, fidelity heads and the potential they make up."""

from idle_md.nn.checkpoint import load_checkpoint, save_checkpoint
from idle_md.nn.heads import FidelityHeads
from idle_md.nn.painn import PaiNN
from idle_md.nn.potential import Potential
from idle_md.nn.radial import RadialBasis

__all__ = [
    "FidelityHeads",
    "PaiNN",
    "Potential",
    "RadialBasis",
    "load_checkpoint",
    "save_checkpoint",
]
