"""The structures that every package is timed on."""

from pathlib import Path

import ase
import ase.build
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import AllChem
from scipy.spatial.transform import Rotation

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
ASPIRIN_ATOMS = 21
VOLUME_OF_WATER = 29.9
"""Of a molecule in the liquid at room temperature, cubic angstrom."""
TRIES = 60


def structure(n_atoms: int) -> ase.Atoms:
    """Return aspirin for 21 atoms, otherwise a water cluster.

    Raises
    ------
    ValueError
        If water molecules cannot have this many atoms.
    """
    if n_atoms == ASPIRIN_ATOMS:
        return aspirin()
    if n_atoms % 3:
        raise ValueError(f"{n_atoms} atoms: give {ASPIRIN_ATOMS}, or a multiple of 3 for water")
    return water_cluster(n_atoms // 3)


def aspirin() -> ase.Atoms:
    """Return a conformer of aspirin, at a minimum of MMFF94."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(ASPIRIN))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(molecule, maxIters=2000)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return ase.Atoms(numbers, molecule.GetConformer().GetPositions())


def water_cluster(n_molecules: int) -> ase.Atoms:
    """Return the molecules of a cubic grid, as dense as the liquid, that are closest to a point.

    Each is turned so that, of a few random orientations, its atoms are farthest from those that are
    already there.
    """
    generator = np.random.default_rng(0)
    monomer = ase.build.molecule("H2O")
    monomer.positions -= monomer.positions[0]
    atoms = monomer[:0]
    for place in _grid(n_molecules):
        turns = Rotation.random(TRIES, rng=generator).as_matrix()
        best = max((_placed(monomer, turn, place) for turn in turns), key=lambda m: _gap(m, atoms))
        atoms += best
    return atoms


def _grid(n: int) -> NDArray[np.float64]:
    """Return grid points (n, 3) in the order of their distance from a point amid the grid."""
    side = int(np.ceil(n ** (1 / 3))) + 2
    points = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)
    away = np.linalg.norm(points - (side - 1) / 2 - (0.1, 0.2, 0.3), axis=1)  # no ties
    nearest: NDArray[np.float64] = VOLUME_OF_WATER ** (1 / 3) * points[np.argsort(away)[:n]]
    return nearest


def _placed(monomer: ase.Atoms, turn: NDArray[np.float64], place: NDArray[np.float64]) -> ase.Atoms:
    molecule = monomer.copy()
    molecule.positions = monomer.positions @ turn.T + place
    return molecule


def _gap(molecule: ase.Atoms, atoms: ase.Atoms) -> float:
    """Return the smallest distance between two sets of atoms."""
    vectors = molecule.positions[:, None] - atoms.positions
    return float(np.linalg.norm(vectors, axis=-1).min(initial=np.inf))


def write(atoms: ase.Atoms, file: Path) -> None:
    """Write what :mod:`peers.inference` reads."""
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, numbers=atoms.numbers.astype(np.int64), positions=atoms.positions)
