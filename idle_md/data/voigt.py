"""Stresses and virials as files write them, as six numbers."""

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import ArrayLike, NDArray

from idle_md.data.xyzline import real

_ASYMMETRY = 1e-3  # of the largest component


def read_voigt(text: str) -> NDArray[np.float64]:
    """Six numbers of those in a text, which may be nine, in brackets, and after ASE's ``_JSON``.

    Raises
    ------
    ValueError
        See :func:`voigt`.
    """
    plain = text.removeprefix("_JSON").translate(str.maketrans("[],", "   "))
    return voigt([real(number) for number in plain.split()])


def voigt(values: ArrayLike) -> NDArray[np.float64]:
    """Six numbers (xx, yy, zz, yz, xz, xy) of six, of nine or of a matrix (3, 3).

    Raises
    ------
    ValueError
        They are of another number, not finite, or the matrix is not symmetric.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape not in ((6,), (9,), (3, 3)):
        raise ValueError(
            f"shape {found.shape} is no stress or virial; give six numbers (xx, yy, zz, yz, xz, "
            "xy) or a matrix (3, 3)"
        )
    if not np.isfinite(found).all():
        raise ValueError("holds NaN or infinity; leave it out where there is no label")
    if found.size == 6:
        return found
    matrix = found.reshape(3, 3)
    if np.abs(matrix - matrix.T).max() > _ASYMMETRY * np.abs(matrix).max():
        raise ValueError("the matrix (3, 3) is not symmetric, as a stress or virial must be")
    return np.asarray(full_3x3_to_voigt_6_stress(matrix))
