"""The part of a System that a model describes, and what a force field may not compute within it."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import openmm
from openmm import app, unit

from idle_md.engines.openmm.particles import chosen_particles
from idle_md.engines.start_checks import check_box, warn_of_charge

TERMS = (
    "HarmonicBondForce",
    "HarmonicAngleForce",
    "PeriodicTorsionForce",
    "RBTorsionForce",
    "CMAPTorsionForce",
    "CustomBondForce",
    "CustomAngleForce",
    "CustomTorsionForce",
)
"""Forces of terms; those within the part go."""
PAIRS = ("NonbondedForce", "CustomNonbondedForce")
"""Forces between pairs; those within the part are excluded."""
OTHERS = (
    "AndersenThermostat",
    "CMMotionRemover",
    "CustomCVForce",
    "CustomCentroidBondForce",
    "CustomCompoundBondForce",
    "CustomExternalForce",
    "CustomGBForce",
    "CustomVolumeForce",
    "DrudeForce",  # none of the part, see below
    "GBSAOBCForce",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloBarostat",
    "MonteCarloFlexibleBarostat",
    "MonteCarloMembraneBarostat",
    "OrientationRestraintForce",
    "RMSDForce",
)
"""What stays as it is: restraints, continuum solvents, and what has no energy."""
BETWEEN = ("CustomCentroidBondForce", "CustomCompoundBondForce")
"""Those of them whose terms openmm-ml takes away within the part."""
MODEL = "idle_md"
"""Name of a model's force."""


@dataclass(frozen=True)
class Part:
    """Particles that belong to a model's part of a System.

    Attributes
    ----------
    atoms
        Indices (n,) of those that the model describes.
    sites
        Indices of their virtual sites. The model does not see them; they carry charges for the
        surroundings alone.
    """

    atoms: list[int]
    sites: list[int]

    @property
    def particles(self) -> set[int]:
        """Atoms and sites."""
        return {*self.atoms, *self.sites}


def find_part(topology: app.Topology, system: openmm.System, atoms: Iterable[int]) -> Part:
    """Return the part that some atoms of a System are.

    Parameters
    ----------
    topology, system
        All particles.
    atoms
        Indices of the atoms; their virtual sites may be among them or not.

    Warns
    -----
    UserWarning
        If the force field gives the part a charge.

    Raises
    ------
    ValueError
        If topology and System are of different sizes, an index is out of range or repeated, the
        part is bonded to the rest or shares a virtual site or a Drude particle, or a force of the
        System is of a class that is not known; names the atoms and the remedy.
    """
    n_particles = system.getNumParticles()
    if topology.getNumAtoms() != n_particles:
        raise ValueError(
            f"the topology has {topology.getNumAtoms()} atoms and the System {n_particles} "
            "particles: give the topology that the System was made of, its extra sites included"
        )
    elements = [atom.element for atom in topology.atoms()]
    _, chosen = chosen_particles(topology, list(atoms))
    inside = {k for k in chosen if not system.isVirtualSite(k) or elements[k] is not None}
    sites = []
    for particle in range(n_particles):
        if particle in inside or not system.isVirtualSite(particle):
            continue
        site = system.getVirtualSite(particle)
        parents = [site.getParticle(k) in inside for k in range(site.getNumParticles())]
        if any(parents) and not all(parents):
            raise ValueError(
                f"particle {particle} is a virtual site of atoms in the model's part and of "
                "others: choose whole molecules"
            )
        if any(parents):
            sites.append(particle)
    part = Part([k for k in chosen if k in inside], sites)
    if not part.atoms:
        raise ValueError("the model's part has virtual sites alone: choose the atoms they are on")
    _check_whole(topology, part.particles)
    for force in system.getForces():
        _check_known(force, part)
    warn_of_charge(_charge(system, part.particles))
    return part


def check_topology(topology: app.Topology, atoms: Sequence[int], periodic: bool) -> None:
    """Check what a topology says of some atoms that a model is to describe.

    Warns
    -----
    UserWarning
        If they are bonded to others, or are all of its atoms and have formal charges.

    Raises
    ------
    ValueError
        If the box is flat or cannot hold the atoms.
    """
    box = topology.getPeriodicBoxVectors()
    everything = list(topology.atoms())
    if periodic and box is not None:
        n_atoms = sum(atom.element is not None for atom in everything)
        check_box(np.array(box.value_in_unit(unit.angstrom)), n_atoms)
    if len(atoms) == len(everything):
        warn_of_charge(sum(getattr(atom, "formalCharge", None) or 0 for atom in everything))
    elif crossing := _crossing(topology, set(atoms)):
        warnings.warn(
            f"{_described(*crossing)}: the model does not know of that bond, and takes the end for "
            "a radical",
            stacklevel=3,
        )


def exclude_pairs(force: openmm.Force, particles: Iterable[int]) -> None:
    """Exclude the pairs within a part from a NonbondedForce or a CustomNonbondedForce, in place.

    In a periodic System an excluded pair is that of the nearest images: molecules of the part may
    lie in different ones.
    """
    pairs = list(combinations(sorted(particles), 2))
    if isinstance(force, openmm.CustomNonbondedForce):
        known = {frozenset(force.getExclusionParticles(k)) for k in range(force.getNumExclusions())}
        for first, second in pairs:
            if frozenset((first, second)) not in known:
                force.addExclusion(first, second)
        return
    excluded = {force.addException(first, second, 0, 1, 0, True) for first, second in pairs}
    for k in range(force.getNumExceptionParameterOffsets()):
        parameter, exception, *_ = force.getExceptionParameterOffset(k)
        if exception in excluded:
            force.setExceptionParameterOffset(k, parameter, exception, 0, 0, 0)
    if force.usesPeriodicBoundaryConditions():
        force.setExceptionsUsePeriodicBoundaryConditions(True)


def keep_molecules(topology: app.Topology, part: Part, periodic: bool) -> openmm.Force:
    """Return bonds without strength, by which OpenMM knows the molecules of a part.

    Barostats scale molecules as a whole, and reporters wrap them as a whole.
    """
    bonds = openmm.HarmonicBondForce()
    for first, second in topology.bonds():
        if {first.index, second.index} <= part.particles:
            bonds.addBond(first.index, second.index, 0.0, 0.0)
    bonds.setUsesPeriodicBoundaryConditions(periodic)
    bonds.setName("bonds of the model's part, without strength")
    return bonds


def warn_of_removed(force: openmm.Force, terms: Sequence[Sequence[int]] = ()) -> None:
    """Warn that terms within a part are gone which may be none of the force field.

    Parameters
    ----------
    force
        Whose terms they were.
    terms
        Their particles; nothing where all are gone and it is not known how many there were.
    """
    function = getattr(force, "getEnergyFunction", str)()
    what = f"{force.getName()}, {function}" if function else force.getName()
    count = f"{len(terms)} terms, the first of atoms {[*terms[0]]}" if terms else "all terms"
    warnings.warn(
        f"{count} of a {type(force).__name__} ({what}) are removed, as within the model's part: if "
        "they are restraints or biases and not the force field's, add them to the mixed System "
        "afterwards",
        stacklevel=4,
    )


def _check_known(force: openmm.Force, part: Part) -> None:
    """Refuse a force that may compute something within a part."""
    kind = type(force).__name__
    if kind == "DrudeForce":
        for k in range(force.getNumParticles()):
            drude, parent = force.getParticleParameters(k)[:2]
            if part.particles & {drude, parent}:
                raise ValueError(
                    f"particle {drude} is a Drude particle of the model's part, whose polarisation "
                    "the model describes already: take a force field without Drude particles"
                )
    elif kind not in (*TERMS, *PAIRS, *OTHERS) and force.getName() != MODEL:
        raise ValueError(
            f"the System holds a {kind} ({force.getName()}), of which it is not known how to take "
            "away what it computes within the model's part: take a force field without it, such as "
            "amber14-all.xml; if it is none of a force field, add it to the mixed System afterwards"
        )


def _charge(system: openmm.System, particles: set[int]) -> float:
    charge = 0.0
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            charge += sum(force.getParticleParameters(k)[0]._value for k in particles)
    return charge


def _check_whole(topology: app.Topology, inside: set[int]) -> None:
    """Refuse bonds across the border: what they hold apart would be described by nothing."""
    if crossing := _crossing(topology, inside):
        raise ValueError(f"{_described(*crossing)}: choose whole molecules")


def _crossing(topology: app.Topology, inside: set[int]) -> tuple[app.topology.Atom, ...]:
    """Return the atoms of a bond across the border, that within first; none if there is none."""
    for pair in topology.bonds():
        within, outside = sorted(pair[:2], key=lambda atom: atom.index not in inside)
        if within.index in inside and outside.index not in inside:
            return within, outside
    return ()


def _described(within: app.topology.Atom, outside: app.topology.Atom) -> str:
    return (
        f"atom {within.index} ({within.name} of {within.residue.name}) is in the model's part and "
        f"bonded to atom {outside.index} ({outside.name} of {outside.residue.name}), which is not"
    )
