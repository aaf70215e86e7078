"""What is observed of differences: energies, and slopes along directions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from idle_md.data import Labels, Store
from idle_md.train.closed_form.differences import (
    Differences,
    internal_displacements,
    observe,
    sampled,
)

WATER = torch.tensor([[0.0, 0.0, 0.1], [0.8, 0.0, -0.5], [-0.8, 0.1, -0.5]])
LINEAR = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2], [0.0, 0.0, -1.2]])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("positions", "periodic", "count"),
    [(WATER, False, 3), (LINEAR, False, 4), (WATER, True, 6), (WATER[:1], False, 0)],
)
def test_no_direction_moves_a_molecule_whole(positions, periodic, count) -> None:
    moves = internal_displacements(positions, periodic, generator())
    assert moves.shape == (count, len(positions), 3)
    flat = moves.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(count, dtype=torch.float64))
    torch.testing.assert_close(moves.sum(1), torch.zeros(count, 3, dtype=torch.float64))
    if not periodic:
        arms = (positions - positions.mean(0)).double()
        torques = torch.linalg.cross(arms.expand_as(moves), moves).sum(1)
        torch.testing.assert_close(torques, torch.zeros(count, 3, dtype=torch.float64))


@pytest.fixture
def differences() -> Differences:
    """Five waters; the third without an energy, the fourth without forces."""
    n, rng = 5, np.random.default_rng(0)
    positions = np.concatenate([WATER.numpy() + 0.1 * rng.normal(size=(3, 3)) for _ in range(n)])
    forces = rng.normal(size=(3 * n, 3))
    energies = rng.normal(size=n)
    energies[2], forces[9:12] = np.nan, np.nan
    names = np.full(n, "water")
    store = Store(
        numbers=np.tile([8, 1, 1], n),
        positions=positions.astype(np.float64),
        offsets=np.arange(0, 3 * n + 1, 3),
        cell=np.zeros((n, 3, 3)),
        pbc=np.zeros((n, 3), bool),
        charge=np.zeros(n, np.int64),
        group=names,
        role=np.full(n, ""),
        labels={"none": Labels.empty(n, 3 * n)},
    )
    return Differences(store, energies, forces, np.arange(n) * 1.0, np.arange(n) * 2.0)


def test_slopes_are_forces_along_the_directions(differences: Differences) -> None:
    observed = observe(differences, 1000, seed=0)
    assert [len(one) for one in observed] == [4, 4, 3, 1, 4]
    for one in observed:
        forces = differences.forces[3 * one.geometry : 3 * one.geometry + 3]
        expected = [-float((move.numpy() * forces).sum()) for move in one.displacements]
        assert one.slopes.tolist() == pytest.approx(expected)
    assert observed[1].values[0] == differences.energies[1]
    assert observed[2].kinds.tolist() == [1, 1, 1]
    assert observed[3].kinds.tolist() == [0]
    assert observed[4].variances == (4.0, 8.0)


def test_all_internal_slopes_make_up_the_internal_forces(differences: Differences) -> None:
    one = observe(differences, 1000, seed=0)[0]
    rebuilt = -torch.einsum("k,kni->ni", one.slopes, one.displacements)
    forces = torch.from_numpy(differences.forces[:3])
    moves = one.displacements.flatten(1)
    torch.testing.assert_close(rebuilt.ravel(), moves.T @ (moves @ forces.ravel()))


def test_fewer_directions_where_rows_are_limited(differences: Differences) -> None:
    observed = observe(differences, 9, seed=0)
    assert [len(one) for one in observed] == [2, 2, 1, 1, 2]
    assert torch.equal(observed[0].displacements, observe(differences, 99, 0)[0].displacements[:1])
    assert [len(one) for one in observe(differences, 1, seed=0)] == [2, 2, 1, 1, 2]


def test_sample(differences: Differences) -> None:
    observed = observe(differences, 1000, seed=0)
    few = sampled(observed, 4, seed=1)
    assert len(few) == 2
    assert sum(len(one) for one in few) <= 4


def test_atom_with_forces_alone_tells_nothing(differences: Differences) -> None:
    atom = differences.store.select([0])
    atom = replace(
        atom,
        numbers=atom.numbers[:1],
        positions=atom.positions[:1],
        offsets=np.array([0, 1]),
        labels={"none": Labels.empty(1, 1)},
    )
    none, zero = np.array([np.nan]), np.zeros(1)
    (one,) = observe(Differences(atom, none, np.zeros((1, 3)), zero, zero), 9, seed=0)
    assert len(one) == 0
    assert torch.tensor([1.0, 2.0])[one.kinds].tolist() == []
