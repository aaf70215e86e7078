"""PaiNN."""

from idle_md.nn.painn.network import PaiNN

__all__ = ["PaiNN"]
