"""Structures for LAMMPS, and what a model gives for them outside it."""

import ase
import ase.build
import numpy as np
import torch

from idle_md import deploy
from idle_md.testing import SMALLEST_FORCE, TOLERANCE


def molecule() -> ase.Atoms:
    return ase.build.molecule("CH3CH2OH")


def grid(sides, spacing, cell=None, pbc=True, seed=0) -> ase.Atoms:
    """Atoms of all elements on a rattled grid."""
    rng = np.random.default_rng(seed)
    steps = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1).reshape(-1, 3)
    lattice = np.diag(np.array(sides) * spacing) if cell is None else np.array(cell)
    fractions = (steps + rng.uniform(-0.12, 0.12, steps.shape)) / sides
    numbers = rng.choice([1, 6, 7, 8], len(steps))
    return ase.Atoms(numbers, positions=fractions @ lattice, cell=lattice, pbc=pbc)


def water(sides=(3, 3, 3)) -> ase.Atoms:
    single = ase.build.molecule("H2O", vacuum=1.1)
    single.cell = [3.1, 3.1, 3.1]
    atoms = single.repeat(sides)
    atoms.rattle(0.1, seed=1)
    atoms.pbc = True
    return atoms


def boxed() -> ase.Atoms:
    atoms = molecule()
    atoms.set_cell([14.0, 15.0, 16.0])
    atoms.center()
    atoms.pbc = True
    return atoms


def skewed() -> ase.Atoms:
    atoms = grid((4, 4, 4), 2.4, [[9.6, 0, 0], [4.1, 9.4, 0], [-3.2, 2.5, 9.1]])
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    return atoms


def tiny() -> ase.Atoms:
    """A cell smaller than the cutoff: atoms are their own neighbours."""
    return grid((2, 2, 2), 2.0, [[3.7, 0, 0], [1.1, 3.9, 0], [-0.6, 0.9, 3.8]])


def slab() -> ase.Atoms:
    atoms = grid(
        (4, 3, 3), 2.2, [[8.8, 0.3, 0.1], [1.0, 7.0, 0], [0, 0, 6.6]], pbc=(True, True, False)
    )
    atoms.rotate(25, (1, 1, 0), rotate_cell=True)
    return atoms


def slab_across() -> ase.Atoms:
    return grid((3, 3, 4), 2.2, pbc=(False, True, True), seed=4)


def wire() -> ase.Atoms:
    return grid((2, 2, 5), 2.1, pbc=(False, False, True), seed=5)


def left_handed() -> ase.Atoms:
    atoms = grid((3, 3, 3), 2.4, [[0, 7.3, 0], [7.2, 0.4, 0], [0, 1.0, 7.1]], seed=6)
    atoms.positions += [100.0, -55.0, 3.0]  # far outside the box
    return atoms


SYSTEMS = {
    each.__name__: each
    for each in (molecule, boxed, water, skewed, tiny, slab, slab_across, wire, left_handed)
}


def expected(model: deploy.DeployedModel, atoms: ase.Atoms):
    """Return atomic energies, forces and virial, from the definition of the edge contract."""
    system = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
    species, edge_index, vectors = model.inputs(*system)
    energies, gradients = model.core(species, edge_index, vectors, len(species))
    _, forces = model.evaluate(*system)
    virial = -(vectors.double().T @ gradients.double())
    return energies.numpy(), forces, 0.5 * (virial + virial.T).numpy()


def assert_same(result, model: deploy.DeployedModel, atoms: ase.Atoms) -> None:
    """Assert energies, forces, virial and stress to the tolerances of :mod:`idle_md.testing`."""
    energies, forces, virial = expected(model, atoms)
    tolerance = TOLERANCE[model.dtype]
    assert abs(result.energy - energies.sum()) <= tolerance * len(atoms)
    assert np.abs(result.atomic_energies - energies).max() <= 10 * tolerance
    assert_close(result.forces, forces, tolerance)
    assert_close(result.virial, virial, tolerance)
    if atoms.pbc.all():
        stress = np.array([virial[k] for k in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
        assert_close(result.stress * atoms.get_volume(), -stress, tolerance)
    else:
        assert result.stress is None


def assert_close(found, wanted, tolerance: float) -> None:
    scale = max(SMALLEST_FORCE, float(np.sqrt(np.mean(np.square(wanted)))))
    assert np.abs(found - wanted).max() <= tolerance * scale


def precision(model: deploy.DeployedModel) -> str:
    return "single" if model.dtype == torch.float32 else "double"
