"""Per-element reference energies of one fidelity."""

import numpy as np
from numpy.typing import NDArray


def fit_reference_energies(
    counts: NDArray[np.float64], energies: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least-squares energies of the elements, ``counts @ result`` being close to ``energies``.

    The solution of least norm is taken where the compositions do not tell the elements apart; an
    element that does not occur gets zero.

    Parameters
    ----------
    counts
        Number of atoms of each element, shape (G, n_elements).
    energies
        Total energies in eV, shape (G,); NaN where not labelled.

    Returns
    -------
    ndarray
        Energies in eV, shape (n_elements,).

    Raises
    ------
    ValueError
        No geometry is labelled: a fidelity with forces alone has no reference energies.
    """
    labelled = np.isfinite(energies)
    if not labelled.any():
        raise ValueError(
            "no energy labels to fit reference energies to; a fidelity with forces alone cannot "
            "predict energies"
        )
    solution = np.linalg.lstsq(counts[labelled], energies[labelled], rcond=None)[0]
    return np.asarray(solution, dtype=np.float64)
