"""Molecules to sample, from SMILES, structure files or a store."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase

from idle_md.data import load
from idle_md.data.states import check_closed_shells, check_states
from idle_md.structures import read_structures

STORES = (".h5", ".hdf5", ".extxyz", ".extxyz.gz")


@dataclass(frozen=True)
class Molecule:
    """What is sampled.

    Attributes
    ----------
    name
        Becomes the group.
    smiles
        Structure, if known; needed for conformers and torsions.
    charge
        Total charge.
    starts
        Geometries to start from; conformers are made where there are none.
    """

    name: str
    smiles: str = ""
    charge: int = 0
    starts: list[Atoms] = field(default_factory=list)


def from_smiles(texts: Sequence[str]) -> list[Molecule]:
    """Read molecules from SMILES, each optionally followed by a name, or from files of such lines.

    Raises
    ------
    ValueError
        If one is no SMILES; the message names it, and the file and line.
    """
    molecules = []
    for text in texts:
        path = Path(text)
        if path.suffix in (".smi", ".txt", ".csv") or path.is_file():
            lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
            wanted = [(f"{path}, line {n}", line) for n, line in lines]
        else:
            wanted = [("--smiles", text)]
        molecules += [
            _parsed(line, place)
            for place, line in wanted
            if line.strip() and not line.lstrip().startswith("#")
        ]
    return _unique(molecules)


def from_file(path: Path) -> list[Molecule]:
    """Read molecules with their geometries from a store, XYZ, SDF, PDB or what ASE reads.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.name.endswith(STORES):
        return _from_store(path)
    if path.suffix.lower() in (".sdf", ".mol"):
        return _from_sdf(path)
    images = read_structures(path)
    return [
        Molecule(f"{path.stem}{f'-{n}' if len(images) > 1 else ''}", starts=[_bare(atoms)])
        for n, atoms in enumerate(images)
    ]


def _parsed(line: str, place: str) -> Molecule:
    smiles, _, name = line.strip().partition(" ")
    with rdBase.BlockLogs():
        found = Chem.MolFromSmiles(smiles)
    if found is None or found.GetNumAtoms() == 0:
        raise ValueError(f"{place}: {smiles!r} is no SMILES that RDKit can read")
    _check_closed_shell(found, f"{place}: {smiles!r}")
    return Molecule(name.strip() or smiles, smiles, Chem.GetFormalCharge(found))


def _check_closed_shell(molecule: Chem.Mol, place: str) -> None:
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if unpaired:
        raise ValueError(
            f"{place} has {unpaired} unpaired electrons, and sampling knows closed shells alone: "
            "label geometries of your own with `idle-md label --spin`"
        )


def _from_sdf(path: Path) -> list[Molecule]:
    molecules = []
    for n, found in enumerate(Chem.SDMolSupplier(str(path), removeHs=False)):
        if found is None:
            raise ValueError(f"{path}: entry {n + 1} cannot be read; check it with RDKit")
        title = found.GetProp("_Name") if found.HasProp("_Name") else ""
        _check_closed_shell(found, f"{path}: entry {n + 1}")
        numbers = [atom.GetAtomicNum() for atom in found.GetAtoms()]
        atoms = Atoms(numbers, found.GetConformer().GetPositions())
        smiles = Chem.MolToSmiles(Chem.RemoveHs(found))
        charge = Chem.GetFormalCharge(found)
        molecules.append(Molecule(title or f"{path.stem}-{n}", smiles, charge, [atoms]))
    return _unique(molecules)


def _from_store(path: Path) -> list[Molecule]:
    store = load(path)
    check_states(store)
    check_closed_shells(store, "sampling")
    smiles = store.info.get("smiles", np.full(store.n_geometries, "")).astype(np.str_)
    molecules = []
    for name in dict.fromkeys(store.group.tolist()):
        mine = np.flatnonzero(store.group == name)
        starts = [_bare(store.atoms(int(index))) for index in mine]
        charges = np.unique(store.charge[mine])
        if len(charges) > 1:
            raise ValueError(
                f"{path}: geometries of {name} have the charges {charges[0]} and {charges[-1]}; "
                "give each charge a molecule of its own"
            )
        charge = int(charges[0])
        molecules.append(Molecule(name, str(smiles[mine[0]]), charge, starts))
    return molecules


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _unique(molecules: list[Molecule]) -> list[Molecule]:
    seen: dict[str, Molecule] = {}
    for molecule in molecules:
        known = seen.setdefault(molecule.name, molecule)
        if known is not molecule:
            raise ValueError(
                f"two molecules are called {molecule.name!r}: give each SMILES a name of its own "
                "after a space, once"
            )
    return molecules
