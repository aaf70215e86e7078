"""Physical invariants that every backbone, potential, deployed model and engine must have.

A test file inherits them and says what to test, as a pytest fixture::

    class TestMyPotential(Invariants):
        @pytest.fixture(scope="class")
        @classmethod
        def subject(cls):
            evaluate = potential_evaluator(my_potential, "wb97x")
            return Subject(evaluate, elements=[1, 6, 7, 8], cutoff=5.0)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import ase.data
import ase.units
import numpy as np
import torch
from numpy.typing import NDArray

from idle_md.deploy import DeployedModel
from idle_md.neighbors import neighbor_list
from idle_md.nn import Potential
from idle_md.units import KJ_PER_MOL, NM

Array = NDArray[np.float64]
Result = tuple[float, Array]
Evaluate = Callable[[Sequence[int], Array, Array | None], Result]
"""``(numbers (N,), positions (N, 3), cell (3, 3) or None) -> (energy, forces (N, 3))`` in eV and
angstrom; a cell means periodic in all directions."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
"""eV per atom; and relative to the force, counted as at least 0.1 eV/angstrom."""
SMALLEST_FORCE = 0.1
FINITE_DIFFERENCE = 1e-6
"""eV/angstrom, between forces and finite differences of the energy in float64."""


@dataclass(frozen=True)
class Subject:
    """What is tested.

    Attributes
    ----------
    evaluate
        Energy and forces.
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


def assert_close(subject: Subject, found: Result, expected: Result) -> None:
    """Assert that energies and forces agree within :data:`TOLERANCE`."""
    tolerance = TOLERANCE[subject.dtype]
    n_atoms = max(1, len(expected[1]))
    difference = abs(found[0] - expected[0]) / n_atoms
    assert difference <= tolerance, f"energies differ by {difference} eV per atom"
    scale = max(SMALLEST_FORCE, float(np.linalg.norm(expected[1])) / np.sqrt(3 * n_atoms))
    error = np.abs(found[1] - expected[1]).max(initial=0.0) / scale
    assert error <= tolerance, f"forces differ by {error} of {scale} eV/angstrom"


def random_structure(
    subject: Subject, n_atoms: int, seed: int = 0, spacing: float = 1.2
) -> tuple[list[int], Array]:
    """Return atoms of all elements on a rattled grid, no two of them very close."""
    generator = np.random.default_rng(seed)
    side = int(np.ceil(n_atoms ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)[:n_atoms]
    numbers = [int(subject.elements[k % len(subject.elements)]) for k in range(n_atoms)]
    return numbers, spacing * (grid + generator.uniform(-0.2, 0.2, grid.shape))


def _rotation(seed: int) -> Array:
    """Return a random rotation (3, 3) that includes a reflection for odd seeds."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turn: Array = matrix * np.linalg.det(matrix) * (-1) ** seed
    return turn


CELL = np.array([[4.1, 0.0, 0.0], [1.3, 4.4, 0.0], [-0.9, 1.7, 4.6]])
"""angstrom; reduced as OpenMM needs it, and small: atoms see several images of each other."""


class Symmetries:
    """Invariants that hold at any precision."""

    def test_rotation_and_inversion_turn_the_forces(self, subject: Subject) -> None:
        numbers, positions = random_structure(subject, 9)
        energy, forces = subject.evaluate(numbers, positions, None)
        assert np.abs(forces).max() > 1e-3, "a potential without forces tests nothing"
        for seed in (0, 1):
            turn = _rotation(seed)
            found = subject.evaluate(numbers, positions @ turn.T, None)
            assert_close(subject, found, (energy, forces @ turn.T))

    def test_translation_changes_nothing(self, subject: Subject) -> None:
        numbers, positions = random_structure(subject, 9)
        expected = subject.evaluate(numbers, positions, None)
        moved = positions + np.array([3.3, -12.1, 0.7])
        assert_close(subject, subject.evaluate(numbers, moved, None), expected)

    def test_forces_and_torques_add_up_to_nothing(self, subject: Subject) -> None:
        numbers, positions = random_structure(subject, 9)
        _, forces = subject.evaluate(numbers, positions, None)
        tolerance = 10 * TOLERANCE[subject.dtype] * max(SMALLEST_FORCE, np.abs(forces).max())
        assert np.abs(forces.sum(0)).max() <= tolerance
        assert np.abs(np.cross(positions, forces).sum(0)).max() <= 10 * tolerance

    def test_permutation_permutes_the_forces(self, subject: Subject) -> None:
        numbers, positions = random_structure(subject, 9)
        energy, forces = subject.evaluate(numbers, positions, None)
        order = np.random.default_rng(1).permutation(len(numbers))
        found = subject.evaluate([numbers[k] for k in order], positions[order], None)
        assert_close(subject, found, (energy, forces[order]))

    def test_far_molecules_do_not_feel_each_other(self, subject: Subject) -> None:
        (na, a), (nb, b) = (random_structure(subject, n, seed=n) for n in (5, 7))
        (ea, fa), (eb, fb) = subject.evaluate(na, a, None), subject.evaluate(nb, b, None)
        far = b + np.array([0.0, 500.0, 0.0])
        found = subject.evaluate(na + nb, np.concatenate([a, far]), None)
        assert_close(subject, found, (ea + eb, np.concatenate([fa, fb])))

    def test_isolated_atom_has_its_own_energy_and_no_force(self, subject: Subject) -> None:
        for number in subject.elements:
            energy, forces = subject.evaluate([number], np.zeros((1, 3)), None)
            assert not forces.any()
            if subject.isolated_energies is not None:
                expected = subject.isolated_energies[number]
                assert abs(energy - expected) <= TOLERANCE[subject.dtype]

    def test_periodic_images_are_the_same_atoms(self, subject: Subject) -> None:
        numbers, positions = random_structure(subject, 8)
        expected = subject.evaluate(numbers, positions, CELL)
        jumps = np.random.default_rng(2).integers(-3, 4, positions.shape)
        assert_close(subject, subject.evaluate(numbers, positions + jumps @ CELL, CELL), expected)

    def test_supercell_is_twice_the_cell(self, subject: Subject) -> None:
        numbers, positions = random_structure(subject, 8)
        energy, forces = subject.evaluate(numbers, positions, CELL)
        double = CELL * np.array([[2.0], [1.0], [1.0]])
        found = subject.evaluate(
            numbers * 2, np.concatenate([positions, positions + CELL[0]]), double
        )
        assert_close(subject, found, (2 * energy, np.concatenate([forces, forces])))


class Invariants(Symmetries):
    """All invariants; the subject must run in float64."""

    def test_forces_are_finite_differences_of_the_energy(self, subject: Subject) -> None:
        numbers, positions = random_structure(subject, 6)
        for cell in (None, CELL):
            _, forces = subject.evaluate(numbers, positions, cell)
            for atom in range(0, len(numbers), 2):
                for axis in range(3):
                    slope = _slope(subject, numbers, positions, cell, (atom, axis))
                    assert abs(forces[atom, axis] + slope) <= FINITE_DIFFERENCE

    def test_cutoff_is_smooth(self, subject: Subject) -> None:
        for first, second in zip(subject.elements, reversed(subject.elements), strict=True):
            numbers = [int(first), int(second)]

            def at(r: float, numbers: list[int] = numbers) -> tuple[float, float]:
                energy, forces = subject.evaluate(numbers, np.array([[0.0] * 3, [r, 0, 0]]), None)
                return energy, float(forces[1, 0])

            apart, force = at(subject.cutoff + 1e-3)
            assert force == 0.0
            assert abs(at(subject.cutoff - 1e-4)[0] - apart) <= 1e-8
            # Twice differentiable: on the way to the cutoff the force vanishes as a square.
            assert abs(at(subject.cutoff - 1e-3)[1]) <= 0.3 * abs(at(subject.cutoff - 2e-3)[1])

    def test_dynamics_conserves_energy(self, subject: Subject) -> None:
        numbers, positions = random_structure(subject, 6)
        errors = [
            _nve_error(subject, numbers, positions, steps, 10.0 / steps) for steps in (40, 80)
        ]
        assert errors[0] <= 1e-2
        assert errors[1] <= 0.3 * errors[0]  # velocity Verlet is of second order


def _slope(
    subject: Subject,
    numbers: list[int],
    positions: Array,
    cell: Array | None,
    entry: tuple[int, int],
    step: float = 1e-3,
) -> float:
    """Return dE/dx by the five-point formula, whose error is of fourth order in the step."""
    energies = []
    for k in (-2, -1, 1, 2):
        moved = positions.copy()
        moved[entry] += k * step
        energies.append(subject.evaluate(numbers, moved, cell)[0])
    return (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)


def _nve_error(
    subject: Subject, numbers: list[int], positions: Array, steps: int, timestep_fs: float
) -> float:
    """Return the largest deviation of the total energy in eV, velocity Verlet from rest."""
    masses = ase.data.atomic_masses[numbers][:, None]
    step = timestep_fs * ase.units.fs
    positions, velocities = positions.copy(), np.zeros_like(positions)
    start, forces = subject.evaluate(numbers, positions, None)
    worst = 0.0
    for _ in range(steps):
        velocities += 0.5 * step * forces / masses
        positions += step * velocities
        potential, forces = subject.evaluate(numbers, positions, None)
        velocities += 0.5 * step * forces / masses
        total = potential + 0.5 * float((masses * velocities**2).sum())
        worst = max(worst, abs(total - start))
    return worst


def model_evaluator(model: DeployedModel) -> Evaluate:
    """Return a deployed model's energy and forces."""

    def evaluate(numbers: Sequence[int], positions: Array, cell: Array | None) -> Result:
        return model.evaluate(numbers, positions, cell, cell is not None)

    return evaluate


def potential_evaluator(potential: Potential, fidelity: str) -> Evaluate:
    """Return a potential's energy and forces by autograd."""
    column = potential.column(fidelity)
    dtype = potential.dtype

    def evaluate(numbers: Sequence[int], positions: Array, cell: Array | None) -> Result:
        pairs, shifts = neighbor_list(positions, potential.backbone.cutoff, cell, cell is not None)
        points = torch.tensor(positions, requires_grad=True)
        edge_index = torch.from_numpy(pairs)
        vectors = points[edge_index[1]] - points[edge_index[0]] + torch.from_numpy(shifts)
        species = torch.as_tensor(numbers, dtype=torch.int64)
        energy = potential(species, edge_index, vectors.to(dtype))[:, column].sum()
        (gradient,) = torch.autograd.grad(energy, points)
        return energy.item(), -gradient.numpy()

    return evaluate


@torch.no_grad()
def isolated_energies(potential: Potential, fidelity: str) -> dict[int, float]:
    """Return what a lone atom of each element must have: reference energy plus head constant."""
    column = potential.column(fidelity)
    no_edges = torch.zeros((2, 0), dtype=torch.int64), torch.zeros((0, 3), dtype=potential.dtype)
    energies = {}
    for number in potential.backbone.elements:
        features = potential.backbone(torch.tensor([number]), *no_edges)
        constant = float(potential.heads(features)[0, column])
        energies[number] = float(potential.reference_energies[number, column]) + constant
    return energies


def calculator_evaluator(calculator: Any) -> Evaluate:
    """Return the energy and forces of any ASE calculator."""

    def evaluate(numbers: Sequence[int], positions: Array, cell: Array | None) -> Result:
        atoms = ase.Atoms(numbers, positions, cell=cell, pbc=cell is not None)
        calculator.calculate(atoms, ["energy", "forces"])
        return float(calculator.results["energy"]), np.array(calculator.results["forces"])

    return evaluate


def openmm_evaluator(
    create_force: Callable[[Sequence[int], bool], Any], platform: str = "Reference"
) -> Evaluate:
    """Return the energy and forces of an OpenMM force.

    Parameters
    ----------
    create_force
        Takes atomic numbers and periodicity, returns an ``openmm.Force``.
    platform
        Name of the OpenMM platform.
    """
    import openmm
    from openmm import unit

    contexts: dict[tuple[tuple[int, ...], bool], openmm.Context] = {}

    def context_for(numbers: tuple[int, ...], periodic: bool) -> openmm.Context:
        if (numbers, periodic) not in contexts:
            system = openmm.System()
            for _ in numbers:
                system.addParticle(1.0)
            system.addForce(create_force(numbers, periodic))
            runs_on = openmm.Platform.getPlatformByName(platform)
            integrator = openmm.VerletIntegrator(0.001)
            contexts[numbers, periodic] = openmm.Context(system, integrator, runs_on)
        return contexts[numbers, periodic]

    def evaluate(numbers: Sequence[int], positions: Array, cell: Array | None) -> Result:
        context = context_for(tuple(numbers), cell is not None)
        if cell is not None:
            context.setPeriodicBoxVectors(*(cell / NM))
        context.setPositions(positions / NM)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        forces = state.getForces(asNumpy=True).value_in_unit(
            unit.kilojoule_per_mole / unit.nanometer
        )
        return energy * KJ_PER_MOL, np.asarray(forces) * (KJ_PER_MOL / NM)

    return evaluate
