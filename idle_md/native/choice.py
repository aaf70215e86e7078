"""What calculates a model, by name."""

from typing import Literal

Kernels = Literal["auto", "native", "portable"]
"""This project's compiled operators, the graph in the file, or the first where they can be had."""
