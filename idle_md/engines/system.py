"""What OpenMM needs besides the force of a model."""

from typing import Literal

import ase
import openmm
from openmm import unit

Ensemble = Literal["nve", "nvt", "npt"]


def make_system(atoms: ase.Atoms, force: openmm.Force) -> openmm.System:
    """Return a System of a structure's atoms, in its cell where it is periodic, with one force."""
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * unit.angstrom))
    system.addForce(force)
    return system


def make_barostat(
    atoms: ase.Atoms, pressure_bar: float, temperature_K: float, seed: int
) -> openmm.MonteCarloBarostat:
    """Return a barostat; a structure that is not periodic is a ValueError."""
    if not atoms.pbc.all():
        raise ValueError("ensemble 'npt' needs a periodic structure: use 'nvt' or 'nve'")
    barostat = openmm.MonteCarloBarostat(pressure_bar, temperature_K)
    barostat.setRandomNumberSeed(openmm_seed(seed))
    return barostat


def make_integrator(
    ensemble: Ensemble, temperature_K: float, friction_per_ps: float, timestep_fs: float, seed: int
) -> openmm.Integrator:
    """Return the integrator of an ensemble; an unknown ensemble is a ValueError."""
    step = timestep_fs * unit.femtosecond
    if ensemble == "nve":
        return openmm.VerletIntegrator(step)
    if ensemble not in ("nvt", "npt"):
        raise ValueError(f"unknown ensemble {ensemble!r}: there are nve, nvt and npt")
    integrator = openmm.LangevinMiddleIntegrator(temperature_K, friction_per_ps, step)
    integrator.setRandomNumberSeed(openmm_seed(seed))
    return integrator


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
