"""What is tested, on which structures, and how close is close enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ase
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from idle_md.engines.engine import Evaluate
from idle_md.engines.results import LeftOut, Prediction
from idle_md.tolerances import ENERGY, RELATIVE, SMALLEST_FORCE

Array = NDArray[np.float64]

CELL = np.array([[4.1, 0.0, 0.0], [1.3, 4.4, 0.0], [-0.9, 1.7, 4.6]])
"""angstrom; reduced as OpenMM needs it, and small: atoms see several images of each other."""


@dataclass(frozen=True)
class Subject:
    """What is tested.

    Attributes
    ----------
    evaluate
        Takes structures, returns their predictions; that of an engine, or of
        :mod:`idle_md.testing.evaluators`.
    elements
        Atomic numbers to test with.
    cutoff
        Cutoff in angstrom.
    isolated_energies
        Expected energy per atomic number of a lone atom in eV, where known.
    dtype
        Precision that the networks run in.
    """

    evaluate: Evaluate
    elements: Sequence[int]
    cutoff: float
    isolated_energies: Mapping[int, float] | None = None
    dtype: torch.dtype = torch.float64

    def predict(self, *structures: ase.Atoms) -> list[Prediction]:
        """Return predictions of structures; one that is left out skips the test with its reason."""
        predictions = []
        for each in self.evaluate(structures):
            if isinstance(each, LeftOut):
                pytest.skip(each.reason)
            predictions.append(each)
        return predictions


def assert_close(subject: Subject, found: Prediction, expected: Prediction) -> None:
    """Assert that energies and forces agree within :mod:`idle_md.tolerances`.

    Raises
    ------
    AssertionError
        If they do not; says by how much.
    """
    n_atoms = max(1, len(expected.forces))
    difference = abs(found.energy - expected.energy) / n_atoms
    assert difference <= ENERGY[subject.dtype], f"energies differ by {difference} eV per atom"
    assert_arrays_close(subject, "forces", found.forces, expected.forces)


def assert_arrays_close(subject: Subject, name: str, found: Array, expected: Array) -> None:
    """Assert that forces, or virials per atom in eV, agree within :mod:`idle_md.tolerances`."""
    norm = float(np.linalg.norm(expected)) / np.sqrt(max(1, expected.size))
    scale = max(SMALLEST_FORCE, norm)
    error = np.abs(found - expected).max(initial=0.0) / scale
    assert error <= RELATIVE[subject.dtype], f"{name} differ by {error} of {scale}"


def random_structure(
    subject: Subject, n_atoms: int, seed: int = 0, spacing: float = 1.2
) -> tuple[list[int], Array]:
    """Return atomic numbers and positions of all elements on a rattled grid, none very close."""
    generator = np.random.default_rng(seed)
    side = int(np.ceil(n_atoms ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)[:n_atoms]
    numbers = [int(subject.elements[k % len(subject.elements)]) for k in range(n_atoms)]
    return numbers, spacing * (grid + generator.uniform(-0.2, 0.2, grid.shape))


def random_atoms(
    subject: Subject, n_atoms: int, cell: Array | None = None, seed: int = 0
) -> ase.Atoms:
    """Return the same as a structure, periodic in all directions where there is a cell (3, 3)."""
    return ase.Atoms(*random_structure(subject, n_atoms, seed), cell=cell, pbc=cell is not None)


def with_positions(atoms: ase.Atoms, positions: Array) -> ase.Atoms:
    """Return a copy of a structure with other positions (N, 3)."""
    copy: ase.Atoms = atoms.copy()
    copy.positions = positions
    return copy
