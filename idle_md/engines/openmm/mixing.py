"""Systems of which a model describes a part, made of a force field's System."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from openmm import CustomCVForce, Force, System, XmlSerializer, app

from idle_md.deploy import DeployedModel
from idle_md.engines.openmm.force import create_force
from idle_md.engines.openmm.part import (
    BETWEEN,
    MODEL,
    PAIRS,
    TERMS,
    Part,
    exclude_pairs,
    find_part,
    keep_molecules,
    warn_of_removed,
)

SWITCH = "lambda_interpolate"
"""Global parameter of an interpolation, the name that openmm-ml has."""
OWN = ("LennardJones14",)
"""Names that OpenMM gives to what a force field makes of custom forces."""
PARTICLES = re.compile(r"[pab]\d")
"""Attributes of a term in XML that name its particles."""

logger = logging.getLogger(__name__)


def create_mixed_system(
    model: DeployedModel | str | Path,
    topology: app.Topology,
    system: System,
    atoms: Iterable[int],
    *,
    interpolate: bool = False,
    remove_constraints: bool = True,
    force_group: int = 0,
    **options: Any,
) -> System:
    """Return a System of which a model describes a part, and a force field the rest.

    The force field's charges and Lennard-Jones terms act between the part and the rest (mechanical
    embedding). Within the part nothing of it is left; restraints (external, centroid and compound
    bond forces, collective variables) and continuum solvents stay.

    Parameters
    ----------
    model
        A deployed model, or the path or the name of one.
    topology, system
        All particles, as the force field describes them. Neither is changed.
    atoms
        Indices of the atoms that the model describes: whole molecules. Their virtual sites belong
        to the part.
    interpolate
        Whether the global parameter ``lambda_interpolate``, 1 by default, leads from the System
        that is given (0) to the mixed one (1), linearly; the Context has the derivative by it.
        Nonbonded forces are then evaluated twice.
    remove_constraints
        Whether distances within the part become free.
    force_group
        Of the model's force; of all that is interpolated.
    options
        Of :func:`~idle_md.engines.openmm.create_force`. The model sees periodic images where the
        System is periodic, and ``charge`` is what the force field gives the part.

    Warns
    -----
    UserWarning
        If terms are removed that may be none of the force field.

    Raises
    ------
    ValueError
        As :func:`~idle_md.engines.openmm.part.find_part` and ``create_force``, or if constraints
        would be missing where an interpolation begins.
    """
    part = find_part(topology, system, atoms)
    mixed = _without_forces(system, part, remove_constraints)
    if interpolate and mixed.getNumConstraints() < system.getNumConstraints():
        raise ValueError(
            "the System has constraints within the model's part, which would be neither rigid nor "
            "held by a bond at lambda 0: make it with constraints=None and, for water, "
            "rigidWater=False, or keep them (remove_constraints=False)"
        )
    periodic = bool(system.usesPeriodicBoundaryConditions())
    options = {"periodic": periodic, "charge": part.charge, **options}
    learned = create_force(model, topology, part.atoms, **options)
    learned.setForceGroup(force_group)
    given, reduced = [], []
    for force in system.getForces():
        kind = type(force).__name__
        if kind in TERMS:
            mixed.addForce(_with_terms(force, lambda term: not term <= part.particles))
            given.append(_with_terms(force, lambda term: term <= part.particles))
        elif kind in PAIRS:
            given.append(deepcopy(force))
            reduced.append(deepcopy(force))
            exclude_pairs(reduced[-1], part.particles)
        else:
            mixed.addForce(deepcopy(force))
    _warn_of_removed(given, topology, part)
    mixed.addForce(keep_molecules(topology, part, periodic))
    added = [*reduced, learned]
    if interpolate:  # lists of excluded pairs differ, and OpenMM wants one in a Context
        added = [_switched("(1-{})", given, f"{MODEL}, lambda 0"), _switched("{}", added, MODEL)]
        for force in added:
            force.setForceGroup(force_group)
    for force in added:
        mixed.addForce(force)
    count = system.getNumParticles()
    logger.info("the model describes %d of %d particles", len(part.atoms), count)
    return mixed


def complete_mixed_system(topology: app.Topology, system: System, atoms: Iterable[int]) -> Part:
    """Take away what openmm-ml leaves of a force field within a part, and return that.

    openmm-ml has taken terms away, and pairs of the atoms, but knows of no virtual sites.

    Parameters
    ----------
    topology, system, atoms
        As in :func:`create_mixed_system`; the System is changed.

    Warns
    -----
    UserWarning
        As :func:`create_mixed_system`; of custom forces that have no terms any more.

    Raises
    ------
    ValueError
        As :func:`~idle_md.engines.openmm.part.find_part`.
    """
    part = find_part(topology, system, atoms)
    for force in system.getForces():
        kind = type(force).__name__
        if kind in PAIRS:
            exclude_pairs(force, part.particles)
        elif kind in TERMS + BETWEEN and kind.startswith("Custom") and not _terms(force):
            warn_of_removed(force)
    periodic = bool(system.usesPeriodicBoundaryConditions())
    system.addForce(keep_molecules(topology, part, periodic))
    return part


def _without_forces(system: System, part: Part, remove_constraints: bool) -> System:
    """Return the particles, the box and the constraints, those within a part not if so wanted."""
    bare = deepcopy(system)
    for k in reversed(range(bare.getNumForces())):
        bare.removeForce(k)
    for k in reversed(range(bare.getNumConstraints())):
        if remove_constraints and {*bare.getConstraintParameters(k)[:2]} <= part.particles:
            bare.removeConstraint(k)
    return bare


def _with_terms(force: Force, is_kept: Callable[[set[int]], bool]) -> Force:
    """Return a copy of a force that has some of its terms alone, by their particles."""
    root = ElementTree.fromstring(XmlSerializer.serialize(force))
    for terms in list(root):
        if terms.tag in ("Bonds", "Angles", "Torsions"):
            for term in list(terms):
                if not is_kept(set(_particles(term))):
                    terms.remove(term)
    return XmlSerializer.deserialize(ElementTree.tostring(root, encoding="unicode"))


def _terms(force: Force) -> list[list[int]]:
    """Return the particles of each term of a force."""
    root = ElementTree.fromstring(XmlSerializer.serialize(force))
    tags = ("Bonds", "Angles", "Torsions")
    return [_particles(term) for terms in root if terms.tag in tags for term in terms]


def _particles(term: ElementTree.Element) -> list[int]:
    return [int(value) for name, value in term.attrib.items() if PARTICLES.fullmatch(name)]


def _switched(factor: str, forces: Sequence[Force], name: str) -> CustomCVForce:
    """Return the sum of some forces, times a function of the switch."""
    names = [f"force{k}" for k in range(len(forces))]
    total = CustomCVForce(f"{factor.format(SWITCH)}*({'+'.join(names) or '0'})")
    total.addGlobalParameter(SWITCH, 1.0)
    total.addEnergyParameterDerivative(SWITCH)
    for each, force in zip(names, forces, strict=True):
        total.addCollectiveVariable(each, force)
    total.setName(name)
    return total


def _warn_of_removed(forces: Sequence[Force], topology: app.Topology, part: Part) -> None:
    """Name the terms within a part that may be none of the force field.

    A force field's follow the bonds; a custom function may be anything.
    """
    bonds = {frozenset((first.index, second.index)) for first, second in topology.bonds()}
    for force in forces:
        kind = type(force).__name__
        if kind not in TERMS or kind == "CMAPTorsionForce" or force.getName() in OWN:
            continue
        terms = _terms(force)
        if not kind.startswith("Custom"):
            terms = [term for term in terms if bonds and not _follows(term, bonds)]
        if terms:
            warn_of_removed(force, terms)


def _follows(term: list[int], bonds: set[frozenset[int]]) -> bool:
    """Return whether a term is along bonds: a chain, a centre with its neighbours, or 1-3."""
    if all(frozenset(pair) in bonds for pair in pairwise(term)):
        return True
    ends = {other for bond in bonds if term[0] in bond for other in bond}
    if len(term) == 2:  # a Urey-Bradley term
        return any(frozenset((end, term[1])) in bonds for end in ends)
    return any(
        all(frozenset((centre, other)) in bonds for other in term if other != centre)
        for centre in term
    )
