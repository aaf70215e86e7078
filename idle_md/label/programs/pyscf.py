"""Hartree-Fock, density functionals, MP2 and coupled cluster in any basis by PySCF."""

import importlib.metadata
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr
from pyscf import cc, dft, gto, lib, mp, scf

from idle_md.fidelity import LevelOfTheory
from idle_md.label.programs.base import LabelError, Result
from idle_md.units import HARTREE

ENERGY_TOLERANCE = 1e-9  # hartree
GRADIENT_TOLERANCE = 1e-6  # of the orbital gradient, so that forces are good to 1e-5 eV/angstrom
CORRELATED = {"mp2": "MP2", "ccsd": "CCSD", "ccsd(t)": "CCSD(T)"}
NOTES = {
    "hf": "SCF to 1e-9 hartree",
    "functional": "density fitting; default grid, whose response is in the gradients; SCF to 1e-9 "
    "hartree",
    "correlated": "frozen core; SCF to 1e-9 hartree",
}


class PySCF:
    """Molecular electronic structure, J. Chem. Phys. 153, 024109 (2020)."""

    knows_spins = True

    def __init__(self, name: str) -> None:
        method, _, basis = name.partition("/")
        self._method, self._basis = method.lower(), basis
        kind = "functional"
        if self._method in CORRELATED:
            kind = "correlated"
        elif self._method == "hf":
            kind = "hf"
        else:
            _check_functional(method)
        _check_basis(basis)
        self._kind = kind
        self.theory = LevelOfTheory(
            method=CORRELATED.get(self._method, method if kind == "functional" else "HF"),
            basis=basis,
            program="PySCF",
            version=importlib.metadata.version("pyscf"),
            notes=NOTES[kind],
        )

    def calculate(self, atoms: Atoms, charge: int, unpaired: int) -> Result:
        """Calculate energy and, but for coupled cluster, forces; see :class:`Level`."""
        molecule = make_molecule(atoms, self._basis, charge, unpaired)
        if self._kind == "functional":
            field = converged(dft.KS(molecule, xc=self._method).density_fit())
        else:
            field = converged(scf.HF(molecule))
        if self._kind != "correlated":
            return Result(field.e_tot * HARTREE, self._forces(field.nuc_grad_method()))
        if self._method == "mp2":
            perturbed = mp.MP2(field).set_frozen()
            perturbed.kernel()
            return Result(perturbed.e_tot * HARTREE, self._forces(perturbed.nuc_grad_method()))
        cluster = converged_cluster(field)
        triples = cluster.ccsd_t() if self._method == "ccsd(t)" else 0.0
        return Result(float(cluster.e_tot + triples) * HARTREE)

    def _forces(self, gradient: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        if self._kind == "functional":
            gradient.grid_response = True
        return -np.asarray(gradient.kernel()) * HARTREE / Bohr


def make_molecule(atoms: Atoms, basis: str, charge: int, unpaired: int) -> Any:
    """Return PySCF's molecule, in one thread.

    Raises
    ------
    LabelError
        If the geometry is periodic or the basis does not know an element.
    """
    if atoms.pbc.any():
        raise LabelError("periodic geometries are not calculated with PySCF")
    lib.num_threads(1)
    geometry = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True))
    try:
        return gto.M(atom=geometry, basis=basis, charge=charge, spin=unpaired, verbose=0)
    except (KeyError, RuntimeError, ValueError) as error:
        raise LabelError(f"{type(error).__name__}: {error}") from error


def converged(field: Any) -> Any:
    """Return a mean field of PySCF with its orbitals.

    Raises
    ------
    LabelError
        If it does not converge.
    """
    field.conv_tol, field.conv_tol_grad = ENERGY_TOLERANCE, GRADIENT_TOLERANCE
    field.kernel()
    if not field.converged and field.mol.spin:  # degenerate states, as of atoms, go in circles
        second_order = field.newton()
        second_order.kernel(field.mo_coeff, field.mo_occ)
        field = second_order.undo_newton()
    if not field.converged:
        raise LabelError(f"SCF did not converge in {field.max_cycle} cycles")
    return field


def converged_cluster(field: Any) -> Any:
    """Return coupled cluster with singles and doubles, frozen core, on a converged field.

    Raises
    ------
    LabelError
        If it does not converge.
    """
    cluster = cc.CCSD(field).set_frozen()
    cluster.kernel()
    if not cluster.converged:
        raise LabelError(f"CCSD did not converge in {cluster.max_cycle} cycles")
    return cluster


def _check_functional(name: str) -> None:
    try:
        dft.libxc.parse_xc(name)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{name!r} is no density functional of PySCF, nor one of hf, {', '.join(CORRELATED)}"
        ) from error


def _check_basis(name: str) -> None:
    try:
        gto.basis.load(name, "H")
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name!r} is no basis set of PySCF, or has no hydrogen") from error
