"""Structures for LAMMPS, and what a model gives for them outside it."""

import ase
import numpy as np
import torch

from idle_md import deploy
from idle_md.engines.parity.structures import (
    boxed,
    grid,
    left_handed,
    molecule,
    skewed,
    slab,
    slab_across,
    tiny,
    water,
    wire,
)
from idle_md.tolerances import LOOSER_FOR_ATOMS, RELATIVE, SMALLEST_FORCE

__all__ = ["SYSTEMS", "assert_close", "assert_same", "expected", "grid", "precision"]
__all__ += ["molecule", "skewed", "slab", "water"]


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
    """Assert energies, forces, virial and stress to the tolerances of :mod:`idle_md.tolerances`."""
    energies, forces, virial = expected(model, atoms)
    tolerance = RELATIVE[model.dtype]
    assert abs(result.energy - energies.sum()) <= tolerance * len(atoms)
    assert np.abs(result.energies - energies).max() <= LOOSER_FOR_ATOMS * tolerance
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
