"""Random systems of any shape, and their energies by nothing but sums over all images."""

from itertools import product

import ase
import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from idle_md.deploy import DeployedModel
from idle_md.edge_contract import edge_forces, edge_virial
from idle_md.engines.results import Prediction, stress_of

ELEMENTS = (1, 6, 7, 8)
ANY = st.tuples(*3 * [st.booleans()])
"""Periodicity."""
NEAREST = 1.0
"""angstrom between atoms."""


def examples(count: int) -> settings:
    """Settings of a test with so many examples, the same ones in every run of few."""
    slow_things = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=count < 1000,
        suppress_health_check=slow_things,
    )


@st.composite
def cells(draw) -> np.ndarray:
    """Lattice vectors (3, 3) in angstrom: small or long, skewed without end, of either hand."""
    lengths = draw(st.lists(st.floats(1.5, 9.0), min_size=3, max_size=3))
    tilts = draw(st.lists(st.floats(-0.6, 0.6), min_size=3, max_size=3))
    cell = np.diag(lengths)
    cell[1, 0], cell[2, 0], cell[2, 1] = np.multiply(tilts, [lengths[0], lengths[0], lengths[1]])
    first, second = draw(st.permutations(range(3)))[:2]
    cell[first] += draw(st.integers(-2, 2)) * cell[second]  # the same lattice, not reduced
    cell = cell[draw(st.permutations(range(3)))] * draw(st.sampled_from([1, -1]))
    return cell @ _rotation(draw(st.integers(0, 2**16)))


@st.composite
def structures(draw, pbc=ANY, max_atoms: int = 7) -> ase.Atoms:
    """Atoms in any order and any image, no two of them close, of any periodicity."""
    cell, periodic = draw(cells()), draw(pbc)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wanted = draw(st.integers(1, max_atoms))
    atoms = ase.Atoms(cell=cell, pbc=periodic)
    for _ in range(4 * wanted):
        point = rng.random(3) @ cell
        apart = min(_lengths(atoms + ase.Atoms("H", [point]), NEAREST), default=np.inf)
        if apart >= NEAREST and len(atoms) < wanted:
            atoms += ase.Atoms([int(rng.choice(ELEMENTS))], [point])
    if not len(atoms):  # its images are too close
        atoms = ase.Atoms("C", [rng.random(3) @ cell], cell=cell, pbc=False)
    jumps = rng.integers(-2, 3, (len(atoms), 3)) * np.array(atoms.pbc)
    atoms.positions += jumps @ cell
    atoms.positions += draw(st.floats(-50, 50))
    return atoms


def edges_of(atoms: ase.Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """All edges, (2, E) and (E, 3), found by going through images one by one."""
    cell, periodic = atoms.cell.array, np.array(atoms.pbc)
    span = np.ptp(atoms.positions, axis=0)
    reach = np.linalg.norm(span) + cutoff
    counts = [0, 0, 0]
    if periodic.any():
        across = np.linalg.pinv(cell * periodic[:, None])  # columns: reciprocal vectors
        for k in np.flatnonzero(periodic):
            counts[k] = int(np.ceil(reach * np.linalg.norm(across[:, k])))
    images = np.array(list(product(*(range(-n, n + 1) for n in counts)))) @ cell
    differences = atoms.positions[None] - atoms.positions[:, None]  # (N, N, 3)
    vectors = differences[:, :, None] + images
    lengths = np.linalg.norm(vectors, axis=-1)
    is_itself = np.eye(len(atoms), dtype=bool)[:, :, None] & (lengths < 1e-9)
    found = np.nonzero((lengths < cutoff) & ~is_itself)
    return np.array(found[:2], dtype=np.int64), vectors[found]


def expected(model: DeployedModel, atoms: ase.Atoms) -> Prediction:
    """Energy, forces and, of what is periodic in all directions, stress, of a float64 model."""
    pairs, vectors = edges_of(atoms, model.metadata.cutoff_angstrom)
    edge_index, edges = torch.from_numpy(pairs), torch.from_numpy(vectors)
    energies, gradients = model.core(torch.tensor(atoms.numbers), edge_index, edges, len(atoms))
    forces = edge_forces(gradients, edge_index, len(atoms)).numpy()
    virial = edge_virial(gradients, edges).numpy()
    stress = stress_of(virial, atoms) if atoms.pbc.all() else None
    return Prediction(float(energies.sum()), forces, energies.numpy(), stress)


def _lengths(atoms: ase.Atoms, cutoff: float) -> np.ndarray:
    return np.linalg.norm(edges_of(atoms, cutoff)[1], axis=1)


def _rotation(seed: int) -> np.ndarray:
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return turned * np.sign(np.linalg.det(turned))
