"""Mixed Systems of many force fields: nothing is left within the part, nothing else goes."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from idle_md.deploy import load
from idle_md.engines.openmm import create_mixed_system
from idle_md.units import KJ_PER_MOL, NM

PEPTIDE = Path(__file__).parents[3] / "examples/openmm/alanine_dipeptide.pdb"
WATER = np.array([[0, 0, 0], [0.09572, 0, 0], [-0.024, 0.09266, 0]])
LIGAND = list(range(22))


@pytest.fixture(scope="module")
def model(model_file):
    return load(model_file())


def evaluated(system, positions, **parameters):
    """Energy in kJ/mol and forces in kJ/mol/nm."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    context.computeVirtualSites()
    for name, value in parameters.items():
        context.setParameter(name, value)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def learned(model, topology, positions, atoms) -> float:
    """The model's own energy of some atoms in kJ/mol."""
    every = list(topology.atoms())
    numbers = [every[k].element.atomic_number for k in atoms]
    box = topology.getPeriodicBoxVectors()
    cell = None if box is None else np.array(box._value) * NM
    chosen = np.array(positions)[atoms] * NM
    return model.evaluate(numbers, chosen, cell, box is not None)[0] / KJ_PER_MOL


def waters(forcefield, count=2):
    """Topology with the sites of a water model, positions in nm, and the real atoms."""
    topology, points = app.Topology(), []
    chain = topology.addChain()
    for k in range(count):
        residue = topology.addResidue("HOH", chain)
        oxygen = topology.addAtom("O", app.element.oxygen, residue)
        for name in ("H1", "H2"):
            topology.addBond(oxygen, topology.addAtom(name, app.element.hydrogen, residue))
        shift = np.array([0.285 * k, 0.01 * k, 0.0])
        points.extend(shift + WATER)
    modeller = app.Modeller(topology, np.array(points) * unit.nanometer)
    modeller.addExtraParticles(forcefield)
    atoms = [atom.index for atom in modeller.topology.atoms() if atom.element is not None]
    return modeller.topology, modeller.positions.value_in_unit(unit.nanometer), atoms


def peptide():
    pdb = app.PDBFile(str(PEPTIDE))
    return pdb.topology, pdb.positions.value_in_unit(unit.nanometer)


def of_charmm(topology):
    """The peptide as the one residue that CHARMM knows."""
    whole = app.Topology()
    residue = whole.addResidue("ALAD", whole.addChain())
    atoms = [whole.addAtom(atom.name, atom.element, residue) for atom in topology.atoms()]
    for first, second in topology.bonds():
        whole.addBond(atoms[first.index], atoms[second.index])
    return whole


def named(topology):
    """Which of the two templates that fit is meant."""
    first = next(topology.residues())
    return {first: "ALAD"} if first.name == "ALAD" else {}


def alone(*files):
    """The peptide, and the force field's System of it; topology, positions, System."""
    topology, positions = peptide()
    topology = of_charmm(topology) if "charmm" in files[0] else topology
    system = app.ForceField(*files).createSystem(topology, residueTemplates=named(topology))
    return topology, positions, system


def solvated(method, *files, water="tip3p", **settings):
    """The peptide in some water, periodic; topology, positions and the force field's System."""
    field = app.ForceField(*(files or ("amber14-all.xml", "amber14/tip3pfb.xml")))
    topology, positions = peptide()
    topology = of_charmm(topology) if "charmm" in str(files) else topology
    modeller = app.Modeller(topology, positions * unit.nanometer)
    box = openmm.Vec3(1.9, 1.9, 1.9) * unit.nanometer
    modeller.addSolvent(field, water, boxSize=box, residueTemplates=named(topology))
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=method,
        nonbondedCutoff=0.7 * unit.nanometer,
        residueTemplates=named(modeller.topology),
        **settings,
    )
    return modeller.topology, modeller.positions.value_in_unit(unit.nanometer), system


CASES = {
    "amber": partial(alone, "amber14-all.xml"),
    "continuum": partial(alone, "amber14-all.xml", "implicit/obc2.xml"),
    "correction maps": partial(alone, "amber19-all.xml"),
    "PME": partial(solvated, app.PME),
    "reaction field": partial(solvated, app.CutoffPeriodic),
    "LJPME": partial(solvated, app.LJPME),
    "CHARMM": partial(solvated, app.PME, "charmm36.xml", "charmm36/water.xml", rigidWater=False),
    "HBonds": partial(solvated, app.PME, constraints=app.HBonds),
    "ff19SB in OPC": partial(
        solvated, app.PME, "amber19-all.xml", "amber19/opc.xml", water="tip4pew"
    ),
    "TIP4P-Ew": partial(
        solvated, app.PME, "amber14-all.xml", "amber14/tip4pew.xml", water="tip4pew"
    ),
    "TIP5P": partial(solvated, app.PME, "amber14-all.xml", "tip5p.xml", water="tip5p"),
}
RIGID = {"HBonds": {"remove_constraints": False}}
"""Options where the part has constraints, which stay."""


@pytest.mark.parametrize("water", ["tip3p.xml", "tip4pew.xml", "tip5p.xml"])
@pytest.mark.parametrize("sites_are_named", [True, False])
def test_nothing_of_the_force_field_is_left_beside_a_model_of_everything(
    model, water, sites_are_named
) -> None:
    field = app.ForceField(water)
    topology, positions, atoms = waters(field)
    system = field.createSystem(topology)
    assert abs(evaluated(system, positions)[0]) > 1
    chosen = range(len(positions)) if sites_are_named else atoms
    mixed = create_mixed_system(model, topology, system, chosen)
    energy, forces = evaluated(mixed, positions)
    assert energy == pytest.approx(learned(model, topology, positions, atoms), abs=1e-6)
    assert mixed.getNumConstraints() == 0
    assert not forces[[k for k in range(len(positions)) if k not in atoms]].any()


@pytest.mark.filterwarnings("ignore:.* of a CustomTorsionForce")
@pytest.mark.parametrize("field", ["amber14-all.xml", "amber19-all.xml", "charmm36.xml"])
def test_nothing_of_the_force_field_is_left_beside_a_peptide(model, field) -> None:
    """Correction maps, Urey-Bradley, 1-4 and custom nonbonded terms among it."""
    topology, positions, system = alone(field)
    assert abs(evaluated(system, positions)[0]) > 10
    mixed = create_mixed_system(model, topology, system, LIGAND)
    own = learned(model, topology, positions, LIGAND)
    assert evaluated(mixed, positions)[0] == pytest.approx(own, abs=1e-6)


def test_sites_of_the_part_act_on_the_rest(model) -> None:
    field = app.ForceField("tip4pew.xml")
    topology, positions, _ = waters(field)
    system = field.createSystem(topology)
    around, _ = evaluated(system, positions)  # of rigid waters: between the two alone
    energy, _ = evaluated(create_mixed_system(model, topology, system, [0, 1, 2]), positions)
    assert energy == pytest.approx(
        learned(model, topology, positions, [0, 1, 2]) + around, abs=1e-6
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a water without its site has a charge
        create_mixed_system(model, topology, system, [0, 1, 2, 3])
    bare = app.Topology()  # without bonds, so that these are not what is refused
    residue = bare.addResidue("HOH", bare.addChain())
    for atom in topology.atoms():
        bare.addAtom(atom.name, atom.element, residue)
    with pytest.raises(ValueError, match=r"virtual site of atoms in the model's part and of ot"):
        create_mixed_system(model, bare, system, [0, 1])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["swm4ndp.xml"], r"is a Drude particle of the model's part.*take a force field without"),
        (["amoeba2018.xml"], r"the System holds a Amoeba\w+ .*take a force field without it"),
    ],
)
def test_force_fields_that_cannot_be_taken_away_are_refused(model, files, message) -> None:
    field = app.ForceField(*files)
    topology, _, atoms = waters(field)
    with pytest.raises(ValueError, match=message):
        create_mixed_system(model, topology, field.createSystem(topology), atoms)


def test_drude_particles_of_the_rest_stay(model) -> None:
    field = app.ForceField("swm4ndp.xml")
    topology, positions, _ = waters(field)
    solute = topology.addAtom(
        "C", app.element.carbon, topology.addResidue("C", topology.addChain())
    )
    system = field.createSystem(waters(field)[0])
    system.addParticle(12.0)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.addParticle(0.0, 0.3, 0.4)
    positions = [*positions, openmm.Vec3(0.0, 0.0, 0.5)]
    around, _ = evaluated(system, positions)
    energy, _ = evaluated(create_mixed_system(model, topology, system, [solute.index]), positions)
    own = learned(model, topology, positions, [solute.index])
    assert energy == pytest.approx(own + around, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.* of a CustomTorsionForce")
@pytest.mark.parametrize("case", CASES)
def test_interpolation_begins_at_the_given_system_and_ends_at_the_mixed_one(model, case) -> None:
    topology, positions, system = CASES[case]()
    arguments, options = (model, topology, system, LIGAND), RIGID.get(case, {})
    mixed = evaluated(create_mixed_system(*arguments, **options), positions)
    switch = create_mixed_system(*arguments, interpolate=True, force_group=7, **options)
    assert switch.getNumConstraints() == system.getNumConstraints()
    for value, expected in ((0.0, evaluated(system, positions)), (1.0, mixed)):
        energy, forces = evaluated(switch, positions, lambda_interpolate=value)
        assert energy == pytest.approx(expected[0], abs=1e-5)
        np.testing.assert_allclose(forces, expected[1], atol=1e-4)
    given, all_forces = evaluated(system, positions)
    np.testing.assert_allclose(mixed[1][22:], all_forces[22:], atol=1e-4)  # of the rest
    middle = evaluated(switch, positions, lambda_interpolate=0.3)[0]
    assert middle == pytest.approx(0.7 * given + 0.3 * mixed[0], abs=1e-4)
    groups = [f.getForceGroup() for f in switch.getForces() if f.getName().startswith("idle_md")]
    assert groups == [7, 7]


@pytest.mark.parametrize("water", ["tip4pew.xml", "tip5p.xml"])
def test_interpolation_of_waters_with_sites(model, water) -> None:
    """One of the waters is the model's, sites and rigid bonds with it."""
    field = app.ForceField(water)
    topology, positions, _ = waters(field, 3)
    system = field.createSystem(topology)
    arguments = model, topology, system, [0, 1, 2]
    switch = create_mixed_system(*arguments, interpolate=True, remove_constraints=False)
    mixed = create_mixed_system(*arguments, remove_constraints=False)
    for value, wanted in ((0.0, system), (1.0, mixed)):
        energy, forces = evaluated(switch, positions, lambda_interpolate=value)
        expected = evaluated(wanted, positions)
        assert energy == pytest.approx(expected[0], rel=1e-9)
        np.testing.assert_allclose(forces, expected[1], atol=1e-6)


def test_rigid_bonds_of_the_part_are_refused_where_an_interpolation_begins(model) -> None:
    topology, positions = peptide()
    field = app.ForceField("amber14-all.xml")
    system = field.createSystem(topology, constraints=app.HBonds)
    with pytest.raises(ValueError, match=r"rigid nor held by a bond at lambda 0.*constraints=None"):
        create_mixed_system(model, topology, system, LIGAND, interpolate=True)
    kept = create_mixed_system(
        model, topology, system, LIGAND, interpolate=True, remove_constraints=False
    )
    assert kept.getNumConstraints() == system.getNumConstraints() == 12
    energy, forces = evaluated(kept, positions, lambda_interpolate=0.0)
    expected = evaluated(system, positions)
    assert energy == pytest.approx(expected[0], abs=1e-6)
    np.testing.assert_allclose(forces, expected[1], atol=1e-5)
    assert create_mixed_system(model, topology, system, LIGAND).getNumConstraints() == 0


@pytest.mark.parametrize("interpolate", [False, True])
def test_molecules_of_the_part_stay_whole(model, interpolate) -> None:
    topology, positions, system = CASES["PME"]()
    mixed = create_mixed_system(model, topology, system, LIGAND, interpolate=interpolate)
    platform = openmm.Platform.getPlatformByName("Reference")
    contexts = [
        openmm.Context(each, openmm.VerletIntegrator(0.001), platform) for each in (system, mixed)
    ]
    before, after = (sorted(map(sorted, context.getMolecules())) for context in contexts)
    assert after == before
    assert after[0] == LIGAND
    wrapped = np.array(positions) - positions[8] + np.array([0.02, 0.9, 0.9])  # on a face
    contexts[1].setPositions(wrapped)
    state = contexts[1].getState(positions=True, enforcePeriodicBox=True)
    seen = state.getPositions(asNumpy=True)._value
    pairs = [(a.index, b.index) for a, b in topology.bonds() if a.index < 22]
    assert max(np.linalg.norm(seen[a] - seen[b]) for a, b in pairs) < 0.2


def test_molecules_of_the_part_may_be_in_different_images(model) -> None:
    """Pairs within the part are those of the nearest images, wherever the molecules have gone."""
    topology, positions, system = CASES["PME"]()
    chosen = [*LIGAND, *range(22, 28)]
    mixed = create_mixed_system(model, topology, system, chosen)
    here = evaluated(mixed, positions)
    moved = np.array(positions)
    moved[22:25] += [1.9, 0, 0]
    there = evaluated(mixed, moved)
    assert there[0] == pytest.approx(here[0], abs=1e-4)
    np.testing.assert_allclose(there[1], here[1], atol=1e-3)


def restraint(kind: str, waters) -> openmm.Force:
    """A restraint or a bias on the peptide alone, or between it and three oxygens of water."""
    if kind == "Boresch":
        force = openmm.CustomCompoundBondForce(6, "50*(distance(p3,p4)-0.6)^2+angle(p2,p3,p4)")
        force.addBond([1, 6, 7, *waters])
    elif kind == "centroid":
        force = openmm.CustomCentroidBondForce(2, "50*(distance(g1,g2)-0.6)^2")
        force.addBond([force.addGroup([1, 6, 7]), force.addGroup([8, 10])])
    elif kind == "position":
        force = openmm.CustomExternalForce("100*(x-1)^2")
        force.addParticle(1)
    elif kind == "collective variable":
        force = openmm.CustomCVForce("10*(d-0.5)^2")
        distance = openmm.CustomBondForce("r")
        distance.addBond(1, 18)
        force.addCollectiveVariable("d", distance)
    elif kind == "distance":
        force = openmm.HarmonicBondForce()
        force.addBond(1, 18, 0.3, 500.0)
    else:
        force = openmm.CustomTorsionForce("50*(theta-1)^2")
        force.addTorsion(4, 6, 8, 14)
    force.setName("restraint")
    return force


@pytest.mark.parametrize(
    ("kind", "stays"),
    [
        ("Boresch", True),
        ("centroid", True),
        ("position", True),
        ("collective variable", True),
        ("distance", False),
        ("umbrella", False),
    ],
)
def test_restraints_stay_or_are_named(model, kind, stays) -> None:
    topology, positions, system = CASES["reaction field"]()
    oxygens = [a.index for a in topology.atoms() if a.residue.name == "HOH" and a.name == "O"]
    plain = evaluated(create_mixed_system(model, topology, system, LIGAND), positions)[0]
    alone = evaluated(system, positions)[0]
    system.addForce(restraint(kind, oxygens[:3]))
    own = evaluated(system, positions)[0] - alone
    assert abs(own) > 0.1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mixed = create_mixed_system(model, topology, system, LIGAND)
    assert evaluated(mixed, positions)[0] - plain == pytest.approx(own if stays else 0, abs=1e-4)
    named = [str(each.message) for each in caught if "(restraint" in str(each.message)]
    assert len(named) == (0 if stays else 1)
    assert stays or "1 terms, the first of atoms [" in named[0]


def test_offsets_of_exceptions_go_with_them(model) -> None:
    topology, positions = peptide()
    system = app.ForceField("amber14-all.xml").createSystem(topology)
    nonbonded = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    nonbonded.addGlobalParameter("alchemical", 1.0)
    nonbonded.addExceptionParameterOffset("alchemical", 3, 5.0, 0.0, 0.0)
    mixed = create_mixed_system(model, topology, system, LIGAND)
    own = learned(model, topology, positions, LIGAND)
    assert evaluated(mixed, positions)[0] == pytest.approx(own, abs=1e-6)


def test_topologies_of_other_systems_are_refused(model) -> None:
    field = app.ForceField("tip4pew.xml")
    topology, _, _ = waters(field)
    bare, _, _ = waters(app.ForceField("tip3p.xml"))
    with pytest.raises(ValueError, match=r"topology has 6 atoms and the System 8 particles"):
        create_mixed_system(model, bare, field.createSystem(topology), [0, 1, 2])


def test_box_is_that_of_the_system(model) -> None:
    """A topology may have lost it."""
    topology, positions, system = CASES["reaction field"]()
    expected = evaluated(create_mixed_system(model, topology, system, LIGAND), positions)[0]
    topology.setPeriodicBoxVectors(None)
    for interpolate in (False, True):
        mixed = create_mixed_system(model, topology, system, LIGAND, interpolate=interpolate)
        assert evaluated(mixed, positions)[0] == pytest.approx(expected, abs=1e-6)


def test_two_parts_may_have_a_model_each(model, model_file) -> None:
    field = app.ForceField("tip4pew.xml")
    topology, positions, _ = waters(field)
    system = field.createSystem(topology)
    other = load(model_file(seed=1))
    first = create_mixed_system(model, topology, system, [0, 1, 2], backend="pythonforce")
    both = create_mixed_system(other, topology, first, [4, 5, 6])
    own = learned(model, topology, positions, [0, 1, 2])
    own += learned(other, topology, positions, [4, 5, 6])
    between = evaluated(system, positions)[0]
    assert evaluated(both, positions)[0] == pytest.approx(own + between, abs=1e-6)
