"""GM-NN."""

from idle_md.nn.gmnn.network import GMNN

__all__ = ["GMNN"]
