"""Backbones by name."""

from idle_md.nn.backbone import Backbone
from idle_md.nn.gmnn.network import GMNN
from idle_md.nn.hipnn.network import HIPNN
from idle_md.nn.painn.network import PaiNN

BACKBONES: dict[str, type[Backbone]] = {
    PaiNN.name: PaiNN,
    HIPNN.name: HIPNN,
    GMNN.name: GMNN,
}
