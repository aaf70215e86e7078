"""Physical invariants of energies, forces and stresses, as classes that a test file inherits."""

from itertools import product
from typing import Final

import ase
import ase.data
import ase.units
import numpy as np
import pytest

from idle_md.engines.results import Prediction
from idle_md.testing.subject import (
    CELL,
    Array,
    Subject,
    assert_arrays_close,
    assert_close,
    random_atoms,
    with_positions,
)
from idle_md.tolerances import ENERGY, FINITE_DIFFERENCE, LOOSER_FOR_ATOMS, RELATIVE, SMALLEST_FORCE

SLOPE: Final = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))
"""Steps and weights of the five-point formula, whose error is of fourth order in the step."""


class Symmetries:
    """Invariants that hold at any precision."""

    def test_rotation_and_inversion_turn_the_forces(self, subject: Subject) -> None:
        atoms = random_atoms(subject, 9)
        turns = [_rotation(seed) for seed in (0, 1)]
        turned = [with_positions(atoms, atoms.positions @ turn.T) for turn in turns]
        original, *found = subject.predict(atoms, *turned)
        assert np.abs(original.forces).max() > 1e-3, "a potential without forces tests nothing"
        for turn, each in zip(turns, found, strict=True):
            assert_close(subject, each, Prediction(original.energy, original.forces @ turn.T))

    def test_translation_changes_nothing(self, subject: Subject) -> None:
        atoms = random_atoms(subject, 9)
        moved = with_positions(atoms, atoms.positions + np.array([3.3, -12.1, 0.7]))
        expected, found = subject.predict(atoms, moved)
        assert_close(subject, found, expected)

    def test_forces_and_torques_add_up_to_nothing(self, subject: Subject) -> None:
        atoms = random_atoms(subject, 9)
        [found] = subject.predict(atoms)
        tolerance = 10 * RELATIVE[subject.dtype] * max(SMALLEST_FORCE, np.abs(found.forces).max())
        assert np.abs(found.forces.sum(0)).max() <= tolerance
        assert np.abs(np.cross(atoms.positions, found.forces).sum(0)).max() <= 10 * tolerance

    def test_permutation_permutes_the_forces(self, subject: Subject) -> None:
        atoms = random_atoms(subject, 9)
        order = np.random.default_rng(1).permutation(len(atoms))
        original, found = subject.predict(atoms, atoms[order])
        assert_close(subject, found, Prediction(original.energy, original.forces[order]))

    def test_far_molecules_do_not_feel_each_other(self, subject: Subject) -> None:
        near, far = (random_atoms(subject, n, seed=n) for n in (5, 7))
        far.positions += np.array([0.0, 500.0, 0.0])
        first, second, both = subject.predict(near, far, near + far)
        forces = np.concatenate([first.forces, second.forces])
        assert_close(subject, both, Prediction(first.energy + second.energy, forces))

    def test_isolated_atom_has_its_own_energy_and_no_force(self, subject: Subject) -> None:
        alone = [ase.Atoms([number], np.zeros((1, 3))) for number in subject.elements]
        for number, found in zip(subject.elements, subject.predict(*alone), strict=True):
            assert not found.forces.any()
            if subject.isolated_energies is not None:
                expected = subject.isolated_energies[number]
                assert abs(found.energy - expected) <= ENERGY[subject.dtype]

    def test_periodic_images_are_the_same_atoms(self, subject: Subject) -> None:
        atoms = random_atoms(subject, 8, CELL)
        jumps = np.random.default_rng(2).integers(-3, 4, atoms.positions.shape)
        elsewhere = with_positions(atoms, atoms.positions + jumps @ CELL)
        expected, found = subject.predict(atoms, elsewhere)
        assert_close(subject, found, expected)

    def test_supercell_is_twice_the_cell(self, subject: Subject) -> None:
        atoms = random_atoms(subject, 8, CELL)
        single, double = subject.predict(atoms, atoms.repeat((2, 1, 1)))
        forces = np.concatenate([single.forces, single.forces])
        assert_close(subject, double, Prediction(2 * single.energy, forces))


class Derivatives:
    """Forces and the smoothness of the energy; the subject must run in float64."""

    def test_forces_are_finite_differences_of_the_energy(self, subject: Subject) -> None:
        step = 1e-3  # angstrom
        for cell in (None, CELL):
            atoms = random_atoms(subject, 6, cell)
            entries = list(product(range(0, len(atoms), 2), range(3)))
            moved = []
            for entry, (k, _) in product(entries, SLOPE):
                moved.append(atoms.copy())
                moved[-1].positions[entry] += k * step
            [original, *found] = subject.predict(atoms, *moved)
            slopes = _slopes(found, step)
            forces = np.array([original.forces[entry] for entry in entries])
            assert np.abs(forces + slopes).max() <= FINITE_DIFFERENCE

    def test_cutoff_is_smooth(self, subject: Subject) -> None:
        distances = [subject.cutoff + r for r in (1e-3, -1e-4, -1e-3, -2e-3)]
        pairs = zip(subject.elements, reversed(subject.elements), strict=True)
        molecules = [ase.Atoms(p, [[0.0] * 3, [r, 0, 0]]) for p, r in product(pairs, distances)]
        predicted = iter(subject.predict(*molecules))
        for apart, near, nearer, nearest in zip(*[predicted] * len(distances), strict=True):
            assert apart.forces[1, 0] == 0.0
            assert abs(near.energy - apart.energy) <= 1e-8
            # Twice differentiable: on the way to the cutoff the force vanishes as a square.
            assert abs(nearer.forces[1, 0]) <= 0.3 * abs(nearest.forces[1, 0])


class Dynamics:
    """Energy conservation; the subject must run in float64, and is called once a step."""

    def test_dynamics_conserves_energy(self, subject: Subject) -> None:
        atoms = random_atoms(subject, 6)
        errors = [_nve_error(subject, atoms, steps, 10.0 / steps) for steps in (40, 80)]
        assert errors[0] <= 1e-2
        assert errors[1] <= 0.3 * errors[0]  # velocity Verlet is of second order


class Invariants(Symmetries, Derivatives, Dynamics):
    """All invariants of energies and forces; the subject must run in float64."""


class Stress:
    """Stresses; skipped where the subject has none."""

    def test_stress_is_the_derivative_by_strain(self, subject: Subject) -> None:
        """In float64, to the tolerance of finite differences times the volume per atom."""
        entries, step = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)), 1e-4  # Voigt's order
        for cell in (CELL, 2.0 * CELL):
            atoms = random_atoms(subject, 8, cell)
            expected = _stress(subject, atoms)
            strained = []
            for (a, b), (k, _) in product(entries, SLOPE):
                strain = np.eye(3)
                strain[a, b] += 0.5 * k * step
                strain[b, a] += 0.5 * k * step
                strained.append(atoms.copy())
                strained[-1].set_cell(cell @ strain, scale_atoms=True)
            slopes = _slopes(subject.predict(*strained), step)
            error = np.abs(expected * atoms.get_volume() - slopes).max() / len(atoms)
            assert error <= FINITE_DIFFERENCE

    def test_rotation_turns_the_stress(self, subject: Subject) -> None:
        atoms = random_atoms(subject, 8, CELL)
        turn = _rotation(0)
        turned = with_positions(atoms, atoms.positions @ turn.T)
        turned.cell = CELL @ turn.T
        found, expected = _stress(subject, turned), _stress(subject, atoms)
        volume = atoms.get_volume() / len(atoms)
        wanted = turn @ _full(expected) @ turn.T
        assert_arrays_close(subject, "stresses", _full(found) * volume, wanted * volume)

    def test_open_structures_have_no_stress(self, subject: Subject) -> None:
        [found] = subject.predict(random_atoms(subject, 8))
        assert found.stress is None


class AtomicEnergies:
    """Energies of atoms; skipped where the subject has none."""

    def test_energies_of_atoms_add_up(self, subject: Subject) -> None:
        for cell in (None, CELL):
            [found] = subject.predict(random_atoms(subject, 8, cell))
            if found.energies is None:
                pytest.skip("there are no energies of atoms")
            assert found.energies.shape == (8,)
            error = abs(found.energies.sum() - found.energy) / 8
            assert error <= LOOSER_FOR_ATOMS * ENERGY[subject.dtype]


class Batching:
    """Several structures together give what they give alone."""

    def test_structures_do_not_feel_each_other(self, subject: Subject) -> None:
        sizes = ((9, None), (1, None), (8, CELL), (5, None), (6, 1.5 * CELL))
        structures = [random_atoms(subject, n, cell, seed=n) for n, cell in sizes]
        for atoms, together in zip(structures, subject.predict(*structures), strict=True):
            [alone] = subject.predict(atoms)
            assert_close(subject, together, alone)
            assert (together.stress is None) == (alone.stress is None)
            if together.stress is not None and alone.stress is not None:
                volume = atoms.get_volume() / len(atoms)
                stresses = together.stress * volume, alone.stress * volume
                assert_arrays_close(subject, "stresses", *stresses)


def _rotation(seed: int) -> Array:
    """Return a random rotation (3, 3) that includes a reflection for odd seeds."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turn: Array = matrix * np.linalg.det(matrix) * (-1) ** seed
    return turn


def _slopes(predictions: list[Prediction], step: float) -> Array:
    """Return dE/dx (n,) of 4 n predictions, by the five-point formula."""
    energies = np.array([each.energy for each in predictions]).reshape(-1, len(SLOPE))
    energies -= energies[:, :1]  # what differs alone is large enough to be summed exactly
    weights = np.array([weight for _, weight in SLOPE])
    slopes: Array = energies @ weights / step
    return slopes


def _stress(subject: Subject, atoms: ase.Atoms) -> Array:
    [found] = subject.predict(atoms)
    if found.stress is None:
        pytest.skip("there is no stress")
    assert found.stress.shape == (6,)
    return found.stress


def _full(stress: Array) -> Array:
    """Return the matrix (3, 3) of a stress (6,)."""
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _nve_error(subject: Subject, atoms: ase.Atoms, steps: int, timestep_fs: float) -> float:
    """Return the largest deviation of the total energy in eV, velocity Verlet from rest."""
    masses = ase.data.atomic_masses[atoms.numbers][:, None]
    step = timestep_fs * ase.units.fs
    atoms, velocities = atoms.copy(), np.zeros_like(atoms.positions)
    [found] = subject.predict(atoms)
    start, worst = found.energy, 0.0
    for _ in range(steps):
        velocities += 0.5 * step * found.forces / masses
        atoms.positions += step * velocities
        [found] = subject.predict(atoms)
        velocities += 0.5 * step * found.forces / masses
        total = found.energy + 0.5 * float((masses * velocities**2).sum())
        worst = max(worst, abs(total - start))
    return worst
