"""What pages take for granted where their blocks run: models, a molecule, a peptide."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.build
import ase.io
from openmm import LangevinMiddleIntegrator, System, app, unit

import idle_md
from idle_md.engines.openmm import create_force
from idle_md.models import checkpoint_path, model_path
from tests.docs.blocks import ROOT


def in_vacuum(folder: Path) -> dict[str, Any]:
    """A molecule, a shipped model under the names that pages give theirs, and a committee of it."""
    for place in ("model.pt", "runs/quickstart/idle.pt"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(model_path("idle-s-gfn2"), folder / place)
    members = [checkpoint_path("idle-s")] * 2
    idle_md.export(members, "gfn2", folder / "committee.pt")
    atoms = ase.build.molecule("CH3CH2OH")
    ase.io.write(folder / "molecule.xyz", atoms)
    several = {"structures": [atoms, atoms], "replicas": [atoms, atoms]}
    return {"atoms": atoms, "idle_md": idle_md, **several}


def in_a_box(folder: Path) -> dict[str, Any]:
    """Eight molecules of ethanol, periodic."""
    molecule = ase.build.molecule("CH3CH2OH", vacuum=2.5)
    molecule.pbc = True
    return in_vacuum(folder) | {"atoms": molecule * (2, 2, 2)}


def in_openmm(folder: Path) -> dict[str, Any]:
    """A peptide, its force field, and a simulation with a scaled model."""
    pdb = app.PDBFile(str(ROOT / "examples/openmm/alanine_dipeptide.pdb"))
    classical = app.ForceField("amber14-all.xml").createSystem(pdb.topology, constraints=None)
    system, scaled = System(), System()
    for atom in pdb.topology.atoms():
        system.addParticle(atom.element.mass)
        scaled.addParticle(atom.element.mass)
    usual = in_vacuum(folder)
    scaled.addForce(create_force(folder / "model.pt", pdb.topology, scale="lambda_ml"))
    integrator = LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.001)
    simulation = app.Simulation(pdb.topology, scaled, integrator)
    simulation.context.setPositions(pdb.positions)
    return usual | {
        "atoms": list(range(pdb.topology.getNumAtoms())),
        "classical": classical,
        "context": simulation.context,
        "create_force": create_force,
        "simulation": simulation,
        "system": system,
        "topology": pdb.topology,
    }


SURROUNDINGS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "README.md": in_vacuum,
    "README.md#From Python": in_openmm,
    "docs/engines/ase.md": in_vacuum,
    "docs/engines/lammps.md": in_a_box,
    "docs/engines/openmm.md": in_openmm,
    "docs/engines/openmm.md#Dynamics": in_vacuum,
    "docs/models.md": in_vacuum,
    "docs/speed.md": in_openmm,
}
"""Of a page, or from a heading of it on; tutorials take nothing for granted but the examples."""
