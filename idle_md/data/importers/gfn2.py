"""Forces of a file beside those of GFN2-xTB, where tblite is installed."""

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from idle_md.data.importers.checks import sampled
from idle_md.data.states import unpaired_of
from idle_md.data.store import Store
from idle_md.units import HARTREE

_MOST_ATOMS = 60
_GEOMETRIES = 5


def beside_gfn2(store: Store, fidelity: str) -> tuple[float, float] | None:
    """Slope and correlation of forces with those of GFN2-xTB, of at most five small geometries.

    The slope is how many times GFN2's they are, which differ by less than a half from those of
    other methods where molecules are displaced; the correlation then is above 0.9. None where
    tblite is not installed or calculates none of them.

    Parameters
    ----------
    store
        Positions in angstrom.
    fidelity
        Level whose forces are compared.
    """
    closed = np.add.reduceat(store.numbers, store.offsets[:-1]) - store.charge
    size = (store.n_atoms > 1) & (store.n_atoms <= _MOST_ATOMS) & (closed % 2 == 0)
    size &= unpaired_of(store) == 0
    allowed = store.has_forces(fidelity) & size & ~store.pbc.any(axis=1)
    sample = sampled(store, allowed, _GEOMETRIES)
    mine, theirs = [], []
    for index in range(sample.n_geometries):
        atoms = sample.atoms(index)
        found = _gfn2_forces(atoms, int(sample.charge[index]))
        if found is not None:
            rows = slice(sample.offsets[index], sample.offsets[index + 1])
            mine.append(sample.labels[fidelity].forces[rows].astype(np.float64).ravel())
            theirs.append(found.ravel())
    if not mine:
        return None
    f, g = np.concatenate(mine), np.concatenate(theirs)
    lengths = np.linalg.norm(f), np.linalg.norm(g)
    if min(lengths) == 0.0:
        return None
    return float(f @ g / lengths[1] ** 2), float(f @ g / (lengths[0] * lengths[1]))


def _gfn2_forces(atoms: Atoms, charge: int) -> NDArray[np.float64] | None:
    """Forces (n, 3) in eV/angstrom."""
    try:
        from tblite.interface import Calculator
    except ImportError:
        return None
    bohr = float(units.Bohr)
    try:
        calculator = Calculator("GFN2-xTB", atoms.numbers, atoms.positions / bohr, float(charge))
        calculator.set("verbosity", 0)
        gradient = calculator.singlepoint().get("gradient")
    except Exception:
        return None
    forces: NDArray[np.float64] = -np.asarray(gradient) * HARTREE / bohr
    return forces
