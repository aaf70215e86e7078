"""HIP-NN with tensor sensitivities."""

from idle_md.nn.hipnn.network import HIPNN

__all__ = ["HIPNN"]
