"""Geometries of torsion scans."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdMolTransforms
from rdkit.Geometry import Point3D

ROTATABLE = Chem.MolFromSmarts("[*;!D1;!$(*#*)]-&!@[*;!D1;!$(*#*)]")
ANGLES = 24
JITTER = 0.03  # angstrom, standard deviation of every coordinate

Quadruple = tuple[int, int, int, int]


def torsions_of(molecule: Chem.Mol) -> list[Quadruple]:
    """Return one quadruple of atoms for every bond that can be turned; hydrogens are explicit."""
    found = []
    for second, third in molecule.GetSubstructMatches(ROTATABLE):
        first = _neighbor(molecule, second, third)
        fourth = _neighbor(molecule, third, second)
        found.append((first, second, third, fourth))
    return found


def torsion_scans(
    molecule: Chem.Mol, starts: Sequence[Atoms], rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield geometries without end: every torsion turned through all angles, then pairs at random.

    Bonds and angles stay as they are, but for a small random displacement.
    """
    torsions = torsions_of(molecule)
    scans = [{torsion: 360.0 * angle / ANGLES} for torsion in torsions for angle in range(ANGLES)]
    frame = 0
    while True:
        if frame < len(scans):
            turned = scans[frame]
        else:
            pair = rng.choice(len(torsions), size=min(2, len(torsions)), replace=False)
            turned = {torsions[k]: rng.uniform(0.0, 360.0) for k in pair}
        conformer = int(rng.integers(len(starts)))
        atoms = _turned(molecule, starts[conformer], turned)
        atoms.positions += JITTER * rng.standard_normal(atoms.positions.shape)
        atoms.info = {"sampling": "torsions", "conformer": conformer, "frame": frame}
        yield atoms
        frame += 1


def _turned(molecule: Chem.Mol, start: Atoms, angles: dict[Quadruple, float]) -> Atoms:
    conformer = Chem.Conformer(len(start))
    for index, position in enumerate(start.positions.tolist()):
        conformer.SetAtomPosition(index, Point3D(*position))
    copy = Chem.Mol(molecule)
    copy.RemoveAllConformers()
    copy.AddConformer(conformer)
    for torsion, angle in angles.items():
        rdMolTransforms.SetDihedralDeg(copy.GetConformer(), *torsion, angle)
    return Atoms(start.numbers, np.array(copy.GetConformer().GetPositions()))


def _neighbor(molecule: Chem.Mol, atom: int, other: int) -> int:
    neighbors = molecule.GetAtomWithIdx(atom).GetNeighbors()
    return int(next(each.GetIdx() for each in neighbors if each.GetIdx() != other))
