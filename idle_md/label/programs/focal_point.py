"""Coupled cluster near the limit of a complete basis, composed of calculations by PySCF."""

import importlib.metadata
from typing import Any

from ase import Atoms
from pyscf import df, mp, scf

from idle_md.fidelity import LevelOfTheory
from idle_md.label.programs.base import Result
from idle_md.label.programs.pyscf import converged, converged_cluster, make_molecule
from idle_md.units import HARTREE

SMALL, LARGE = "cc-pvdz", "cc-pvtz"
NOTES = (
    "HF/cc-pVTZ + MP2/cc-pV(D,T)Z, extrapolated by X^-3, + [CCSD(T) - MP2]/cc-pVDZ; frozen core; "
    "density fitting in cc-pVTZ; SCF to 1e-9 hartree"
)


class FocalPoint:
    """Focal-point coupled cluster: the basis by MP2, what MP2 lacks in a small basis.

    The energy is that of Hartree-Fock in cc-pVTZ, and the correlation energies E with frozen cores

        ``(27 E[MP2/cc-pVTZ] - 8 E[MP2/cc-pVDZ]) / 19 + E[CCSD(T)/cc-pVDZ] - E[MP2/cc-pVDZ]``

    The first is the two-point extrapolation with errors in proportion to X^-3, X the cardinal
    number of the basis: Helgaker, Klopper, Koch and Noga, J. Chem. Phys. 106, 9639 (1997). The
    difference converges faster than either part: East and Allen, J. Chem. Phys. 99, 4638 (1993).
    In cc-pVTZ both Hartree-Fock and MP2 fit densities, so that memory grows with the third power
    of the number of atoms and goes to the disk beyond what PySCF is allowed.
    """

    knows_spins = True

    def __init__(self, name: str) -> None:
        version = importlib.metadata.version("pyscf")
        method, _, basis = name.partition("/")
        self.theory = LevelOfTheory(
            method=method.upper(), basis=basis, program="PySCF", version=version, notes=NOTES
        )

    def calculate(self, atoms: Atoms, charge: int, unpaired: int) -> Result:
        """Calculate the energy, see :class:`idle_md.label.programs.base.Level`; no forces."""
        small = make_molecule(atoms, SMALL, charge, unpaired)
        large = make_molecule(atoms, LARGE, charge, unpaired)
        cluster = converged_cluster(converged(scf.HF(small)))
        beyond = cluster.e_corr + cluster.ccsd_t() - cluster.emp2
        field = converged(scf.HF(large).density_fit())
        limit = extrapolated(float(cluster.emp2), second_order(field))
        return Result(float(field.e_tot + limit + beyond) * HARTREE)


def extrapolated(double_zeta: float, triple_zeta: float) -> float:
    """Return the correlation energy of a complete basis from those of cc-pVDZ and cc-pVTZ.

    J. Chem. Phys. 106, 9639 (1997), equation 4 with X of 2 and 3.
    """
    return (27 * triple_zeta - 8 * double_zeta) / 19


def second_order(field: Any) -> float:
    """Return the correlation energy of MP2 in hartree, frozen core, by density fitting."""
    perturbed = mp.MP2(field).set_frozen()
    perturbed.with_df = df.DF(perturbed.mol, df.make_auxbasis(perturbed.mol, mp2fit=True))
    energy, _ = perturbed.kernel(with_t2=False)
    return float(energy)
