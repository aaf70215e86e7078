"""What OpenMM needs besides the force of a model."""

import logging

import ase
import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from idle_md.cells import in_standard_form
from idle_md.engines.md_settings import MDSettings

HYDROGEN = 1

logger = logging.getLogger(__name__)


def standard_form(atoms: ase.Atoms) -> ase.Atoms:
    """Return a copy in the frame that OpenMM needs, with its cell lower triangular and reduced.

    Raises
    ------
    ValueError
        If some directions are periodic and others are not.
    """
    if not atoms.pbc.any():
        return ase.Atoms(atoms.numbers, atoms.positions, masses=atoms.get_masses())
    if not atoms.pbc.all():
        raise ValueError(
            f"periodic along {atoms.pbc.tolist()}: OpenMM wants all directions or none"
        )
    turned, _ = in_standard_form(atoms)
    return ase.Atoms(
        turned.numbers, turned.positions, masses=turned.get_masses(), cell=turned.cell, pbc=True
    )


def make_system(atoms: ase.Atoms, force: openmm.Force) -> openmm.System:
    """Return a System of a structure's atoms, in its cell where it is periodic, with one force."""
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * unit.angstrom))
    system.addForce(force)
    return system


def repartition_mass(
    system: openmm.System,
    numbers: NDArray[np.int64],
    bonds: NDArray[np.int64],
    hydrogen_mass: float,
) -> None:
    """Make hydrogens heavier at the cost of the atoms that they are bonded to.

    That slows the fastest vibrations down and allows longer timesteps; averages over positions stay
    what they are. Hydrogens without a heavier neighbour, and those of rigid water, keep their mass.

    Parameters
    ----------
    system
        What is changed.
    numbers, bonds
        Atomic numbers (N,) of its particles, and bonds (B, 2) between them.
    hydrogen_mass
        New mass in amu.

    Raises
    ------
    ValueError
        If a heavy atom would be left with less mass than its hydrogens.
    """
    rigid = _rigid_hydrogens(system, numbers)
    done = set(rigid)
    for pair in bonds.tolist():
        first, second = sorted(pair, key=lambda atom: int(numbers[atom]))
        if numbers[first] != HYDROGEN or numbers[second] <= HYDROGEN or first in done:
            continue
        done.add(first)
        moved = hydrogen_mass - system.getParticleMass(first)._value
        system.setParticleMass(first, hydrogen_mass)
        left = system.getParticleMass(second)._value - moved
        if left < hydrogen_mass:
            raise ValueError(
                f"hydrogen_mass {hydrogen_mass:g} amu leaves atom {second} with {left:.3g}: take a "
                "smaller one, 1.5 to 3 is usual"
            )
        system.setParticleMass(second, left)
    logger.info("%d hydrogens have a mass of %g amu", len(done) - len(rigid), hydrogen_mass)


def _rigid_hydrogens(system: openmm.System, numbers: NDArray[np.int64]) -> set[int]:
    rigid: set[int] = set()
    for constraint in range(system.getNumConstraints()):
        first, second, _ = system.getConstraintParameters(constraint)
        if numbers[first] == numbers[second] == HYDROGEN:
            rigid |= {first, second}
    return rigid


def make_barostat(atoms: ase.Atoms, settings: MDSettings, seed: int) -> openmm.MonteCarloBarostat:
    """Return a barostat; a structure that is not periodic is a ValueError."""
    if not atoms.pbc.all():
        raise ValueError("ensemble 'npt' needs a periodic structure: use 'nvt' or 'nve'")
    barostat = openmm.MonteCarloBarostat(settings.pressure_bar, settings.temperature_K)
    barostat.setRandomNumberSeed(openmm_seed(seed))
    return barostat


def make_integrator(settings: MDSettings, seed: int) -> openmm.Integrator:
    """Return the integrator of an ensemble."""
    step = settings.timestep_fs * unit.femtosecond
    if settings.ensemble == "nve":
        return openmm.VerletIntegrator(step)
    integrator = openmm.LangevinMiddleIntegrator(
        settings.temperature_K, settings.friction_per_ps, step
    )
    integrator.setRandomNumberSeed(openmm_seed(seed))
    return integrator


def initialize(context: openmm.Context, atoms: ase.Atoms, settings: MDSettings) -> None:
    """Set positions and velocities, after a relaxation if asked; the centre of mass rests."""
    context.setPositions(atoms.positions * unit.angstrom)
    if settings.minimize:
        openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(settings.temperature_K, openmm_seed(settings.seed))
    state = context.getState(velocities=True)
    velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
    system = context.getSystem()
    masses = np.array([system.getParticleMass(k)._value for k in range(len(atoms))])
    moving = (masses > 0)[:, None]
    context.setVelocities(velocities - moving * (masses @ velocities / masses.sum()))


def warm_up(context: openmm.Context) -> None:
    """Have what a first step does only once done."""
    for _ in range(3):  # TorchScript optimises itself during the first evaluations
        context.getState(forces=True)


def openmm_seed(seed: int) -> int:
    """Return a seed that OpenMM takes as given: 0 means "choose one" to it."""
    return seed + 1


def find_platform(name: str | None) -> list[openmm.Platform]:
    """Return the platform of a name, none for OpenMM's choice; an unknown name is a ValueError."""
    if name is None:
        return []
    count = openmm.Platform.getNumPlatforms()
    known = {p.getName(): p for p in map(openmm.Platform.getPlatform, range(count))}
    if name not in known:
        raise ValueError(f"unknown OpenMM platform {name!r}: there are {', '.join(known)}")
    return [known[name]]
