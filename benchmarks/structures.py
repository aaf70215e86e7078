"""Structures of any size for timing: molecules, a peptide, water as a cluster or a liquid."""

import ase
import ase.build
import numpy as np

PEPTIDE, SEQUENCE = 50, "AAAAG"
PERIODIC_FROM = 1000  # atoms
SPACING = 3.104  # angstrom, of molecules on a cubic grid: the density of water


def structure(n_atoms: int) -> ase.Atoms:
    """Return aspirin (21 atoms), a peptide (50), a cluster of water, or from 1,000 atoms on a box.

    The liquid has as many molecules of ammonia in it as are needed for the number of atoms.
    """
    if n_atoms == PEPTIDE:
        return peptide(SEQUENCE)
    if n_atoms >= PERIODIC_FROM:
        return liquid(n_atoms)
    from peers.structures import structure as molecule_or_cluster  # by RDKit, which not all have

    return molecule_or_cluster(n_atoms)


def peptide(sequence: str) -> ase.Atoms:
    """Return one conformer of a peptide."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    molecule = Chem.AddHs(Chem.MolFromSequence(sequence))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return ase.Atoms(numbers, molecule.GetConformer().GetPositions())


def liquid(n_atoms: int) -> ase.Atoms:
    """Return a periodic box of molecules on a grid, turned at random, as dense as water."""
    ammonia = n_atoms % 3
    n_molecules = (n_atoms - 4 * ammonia) // 3 + ammonia
    side = round(n_molecules ** (1 / 3))
    layers = int(np.ceil(n_molecules / side**2))
    places = np.stack(np.meshgrid(*map(np.arange, (layers, side, side)), indexing="ij"), -1)
    # The last layer may have gaps: the others move together, so that the mean density stays.
    spacing = SPACING * np.array([n_molecules / (layers * side**2), 1.0, 1.0])
    rng = np.random.default_rng(0)
    monomers = [ase.build.molecule(name) for name in ("H2O", "NH3")]
    numbers, positions = [], []
    for k, place in enumerate(places.reshape(-1, 3)[:n_molecules]):
        monomer = monomers[k < ammonia]
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        numbers.append(monomer.numbers)
        positions.append((monomer.positions - monomer.positions.mean(0)) @ turn + spacing * place)
    cell = spacing * [layers, side, side]
    return ase.Atoms(np.concatenate(numbers), np.concatenate(positions), cell=cell, pbc=True)
