"""Systems of which a model describes a part, and a force field of OpenMM the rest."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from idle_md.deploy import DeployedModel
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.mixing import create_mixed_system
from idle_md.engines.openmm.part import MODEL
from idle_md.engines.openmm.particles import chosen_particles
from idle_md.structures import check_records, from_openmm, read_structure

CUTOFF = 10.0
"""angstrom, of the nonbonded forces in a periodic box; PME does what is beyond."""


@dataclass(frozen=True)
class Surroundings:
    """What is around the atoms that a model describes.

    The force field describes the rest and, by its charges and Lennard-Jones terms, the interactions
    of the rest with the model's atoms (mechanical embedding).

    Attributes
    ----------
    topology
        All particles, with residues that the force field knows, hydrogens included. With box
        vectors the system is periodic, with PME; else nothing is cut off.
    forcefield
        Files of the force field, as :class:`openmm.app.ForceField` takes them.
    ml_atoms
        Indices of the atoms that the model describes: whole molecules.
    """

    topology: app.Topology
    forcefield: Sequence[str]
    ml_atoms: list[int]

    @property
    def cutoff_angstrom(self) -> float | None:
        """Cutoff of the nonbonded forces, None where there is none."""
        return None if self.topology.getPeriodicBoxVectors() is None else CUTOFF

    @property
    def bonds(self) -> NDArray[np.int64]:
        """Bonds (B, 2) of the topology."""
        pairs = [(first.index, second.index) for first, second in self.topology.bonds()]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def read_surroundings(
    path: str | Path,
    forcefield: Sequence[str],
    *,
    residues: Sequence[str] = (),
    chains: Sequence[str] = (),
    atoms: Sequence[int] = (),
) -> tuple[Surroundings, ase.Atoms]:
    """Read a PDB or PDBx/mmCIF file, and choose the model's atoms.

    Parameters
    ----------
    path
        ``.pdb``, or ``.cif`` in PDBx format.
    forcefield
        See :class:`Surroundings`.
    residues, chains, atoms
        Names of residues, identifiers of chains and indices of atoms, from 0; the model describes
        what any of them names.

    Returns
    -------
    surroundings, atoms
        And the structure of all particles.

    Raises
    ------
    ValueError
        If the file cannot be read, or something that is named is not in it; says what is.
    """
    path = Path(path)
    readers = {".pdb": app.PDBFile, ".cif": app.PDBxFile}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: a force field needs residues, so give a .pdb or .cif file")
    if not path.is_file():
        raise FileNotFoundError(f"no structure at {path}")
    try:
        file = readers[path.suffix.lower()](str(path))
        check_records(path, file.topology.getNumAtoms())
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a structure: {error}") from error
    topology = file.topology
    chosen = choose_atoms(topology, residues, chains, atoms)
    return Surroundings(topology, forcefield, chosen), from_openmm(file)


def read_start(
    structure: ase.Atoms | str | Path, settings: MDSettings
) -> tuple[ase.Atoms, Surroundings | None]:
    """Return the structure of all particles, and what a force field describes of it.

    Raises
    ------
    ValueError
        As :func:`~idle_md.structures.read_structure` and :func:`read_surroundings`, or if a force
        field is to describe a structure that is no file.
    """
    if not settings.mm:
        atoms = structure if isinstance(structure, ase.Atoms) else read_structure(structure)
        return atoms, None
    if isinstance(structure, ase.Atoms):
        raise ValueError("a force field needs residues, so give the path of a .pdb or .cif file")
    surroundings, atoms = read_surroundings(
        structure,
        settings.mm,
        residues=settings.ml_residues,
        chains=settings.ml_chain,
        atoms=settings.ml_atoms,
    )
    return atoms, surroundings


def choose_atoms(
    topology: app.Topology, residues: Sequence[str], chains: Sequence[str], atoms: Sequence[int]
) -> list[int]:
    """Return the indices of the atoms that are named, see :func:`read_surroundings`, ascending.

    Sites that are no atoms go with theirs, named or not.
    """
    names = {residue.name for residue in topology.residues()}
    identifiers = {chain.id for chain in topology.chains()}
    for what, given, there in (("residue", residues, names), ("chain", chains, identifiers)):
        unknown = [name for name in given if name not in there]
        if unknown:
            raise ValueError(f"no {what} {unknown[0]!r}: there are {', '.join(sorted(there))}")
    chosen = set(chosen_particles(topology, atoms)[1]) if atoms else set()
    for atom in topology.atoms():
        if atom.residue.name in residues or atom.residue.chain.id in chains:
            chosen.add(atom.index)
    chosen -= {atom.index for atom in topology.atoms() if atom.element is None}
    if not chosen:
        raise ValueError("no atoms for the model: name residues, chains or indices of atoms")
    return sorted(chosen)


def make_mixed_system(
    model: DeployedModel, surroundings: Surroundings, **options: Any
) -> openmm.System:
    """Return a mixed System.

    Bonds with hydrogen and water are rigid, but not within the model's part.

    Parameters
    ----------
    model
        A deployed model.
    surroundings
        What is around it.
    options
        Of :func:`~idle_md.engines.openmm.create_mixed_system`.

    Raises
    ------
    ValueError
        If the force field has no parameters for a residue, or there is no such file; as
        :func:`~idle_md.engines.openmm.create_mixed_system`.
    """
    topology = surroundings.topology
    periodic = surroundings.cutoff_angstrom is not None
    try:
        classical = app.ForceField(*surroundings.forcefield).createSystem(
            _without_isotopes(topology),
            nonbondedMethod=app.PME if periodic else app.NoCutoff,
            nonbondedCutoff=CUTOFF * unit.angstrom,
            constraints=app.HBonds,
            rigidWater=True,
            removeCMMotion=False,
        )
    except Exception as error:
        raise ValueError(
            f"the force field {', '.join(surroundings.forcefield)} cannot describe this "
            f"structure: {error}"
        ) from error
    for atom in topology.atoms():
        if atom.element is app.element.deuterium:
            classical.setParticleMass(atom.index, atom.element.mass)
    return create_mixed_system(model, topology, classical, surroundings.ml_atoms, **options)


def model_force(system: openmm.System) -> openmm.Force:
    """Return the force of a model in a System."""
    return next(force for force in system.getForces() if force.getName() == MODEL)


def _without_isotopes(topology: app.Topology) -> app.Topology:
    """Return a copy with hydrogen for deuterium, which force fields do not know."""
    plain = deepcopy(topology)
    for atom, own in zip(plain.atoms(), topology.atoms(), strict=True):
        if own.element is app.element.deuterium:
            atom.element = app.element.hydrogen
    return plain
