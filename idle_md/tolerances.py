"""How far numbers may be apart that should be the same: one table for checks and tests.

Energies without reference energies agree to ``ENERGY`` eV per atom. Forces, and stress times volume
per atom, agree to ``RELATIVE`` times the root mean square of the reference, which counts as
``SMALLEST_FORCE`` at least.
"""

from typing import Final

import torch

RELATIVE: Final = {torch.float64: 1e-9, torch.float32: 1e-5}
"""By the precision that the networks run in."""
ENERGY: Final = RELATIVE
"""eV per atom, by the precision that the networks run in."""
SMALLEST_FORCE: Final = 0.1
"""eV/angstrom."""
FINITE_DIFFERENCE: Final = 1e-6
"""eV/angstrom, between forces and finite differences of the energy in float64."""
ROUNDINGS: Final = 10.0
"""Two engines in single precision may also differ by so many times what one of them differs from
double precision: a model may be more sensitive to rounding than the tolerance is wide."""
LOOSER_FOR_ATOMS: Final = 10.0
"""Single atoms' energies may differ by so many tolerances: nothing averages over them."""
