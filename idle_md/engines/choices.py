"""What is chosen by name, in the engines and where they are asked for."""

from typing import Literal

EngineName = Literal["openmm", "lammps"]
"""Engines with molecular dynamics."""
Ensemble = Literal["nve", "nvt", "npt"]
"""What is held constant."""
Backend = Literal["auto", "torchforce", "pythontorchforce", "pythonforce"]
"""How OpenMM calls a model."""
Mode = Literal["fold", "ghost", "local"]
"""What ghost atoms are in LAMMPS."""
Precision = Literal["single", "double"]
"""Floating-point precision of a model in LAMMPS."""
