"""Conformers by distance geometry and a force field."""

from typing import Any

import numpy as np
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from idle_md.label.sampling.molecule import Molecule


def with_hydrogens(smiles: str) -> Chem.Mol:
    """Return a molecule with all hydrogens."""
    return Chem.AddHs(Chem.MolFromSmiles(smiles))


def embed(molecule: Chem.Mol, n: int, seed: int) -> list[Atoms]:
    """Return up to n conformers, relaxed with MMFF94 where it knows the atoms.

    ETKDG, version 3: J. Chem. Inf. Model. 60, 2044 (2020).

    Raises
    ------
    ValueError
        If there is none.
    """
    settings: Any = rdDistGeom.ETKDGv3()
    settings.randomSeed = seed % (1 << 31)
    settings.pruneRmsThresh = 0.3
    found = list(rdDistGeom.EmbedMultipleConfs(molecule, n, settings))
    if not found:
        settings.useRandomCoords = True
        found = list(rdDistGeom.EmbedMultipleConfs(molecule, n, settings))
    if not found:
        raise ValueError(f"RDKit makes no conformer of {Chem.MolToSmiles(molecule)}")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=500)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return [
        Atoms(numbers, np.array(molecule.GetConformer(index).GetPositions())) for index in found
    ]


def start_of(molecule: Molecule, seed: int) -> Atoms:
    """Return a molecule's first geometry, or a conformer where it has none.

    Raises
    ------
    ValueError
        If RDKit makes none.
    """
    [start, *_] = molecule.starts or embed(with_hydrogens(molecule.smiles), 1, seed)
    return start
