"""Neighbour lists against brute force over images."""

from itertools import product

import numpy as np
import pytest

from idle_md.neighbors import neighbor_list


def brute_force(positions, cutoff, cell, pbc):
    """All (i, j, image) closer than the cutoff, with as many images as the cell can need."""
    inside = positions @ np.linalg.inv(cell)
    reach = cutoff * np.linalg.norm(np.linalg.inv(cell), axis=0) + np.ptp(inside, axis=0)
    images = product(
        *(range(-int(n) - 1, int(n) + 2) if p else [0] for n, p in zip(reach, pbc, strict=True))
    )
    found = set()
    for image in images:
        vectors = positions[None] - positions[:, None] + np.array(image) @ cell
        for i, j in np.argwhere(np.linalg.norm(vectors, axis=-1) < cutoff):
            if i != j or any(image):
                found.add((int(i), int(j), *image))
    return found


def random_cell(rng):
    while True:
        cell = 3 * np.eye(3) + rng.normal(size=(3, 3))
        if abs(np.linalg.det(cell)) > 10:
            return cell


@pytest.mark.parametrize("pbc", list(product([False, True], repeat=3)))
@pytest.mark.parametrize("n_atoms", [1, 2, 5])
def test_equals_brute_force_in_small_triclinic_boxes(pbc, n_atoms) -> None:
    """The cutoff exceeds half of every box length; atoms lie outside the box; images repeat."""
    rng = np.random.default_rng(n_atoms)
    for _ in range(4):
        cell, positions = random_cell(rng), 5 * rng.normal(size=(n_atoms, 3))
        edge_index, shifts = neighbor_list(positions, 4.5, cell, pbc)
        images = shifts @ np.linalg.inv(cell)
        np.testing.assert_allclose(images, np.rint(images), atol=1e-9)
        edges = [
            (int(i), int(j), *map(int, image))
            for i, j, image in zip(*edge_index, np.rint(images), strict=True)
        ]
        assert len(edges) == len(set(edges))
        assert set(edges) == brute_force(positions, 4.5, cell, pbc)
        vectors = positions[edge_index[1]] - positions[edge_index[0]] + shifts
        assert (np.linalg.norm(vectors, axis=1) < 4.5).all()
        assert (np.diff(edge_index[0]) >= 0).all()


def test_atom_is_its_own_neighbour_across_a_small_box() -> None:
    edge_index, shifts = neighbor_list(np.zeros((1, 3)), 2.1, 2.0 * np.eye(3), True)
    assert edge_index.tolist() == [[0] * 6, [0] * 6]
    assert sorted(map(tuple, np.abs(shifts))) == sorted([(2, 0, 0), (0, 2, 0), (0, 0, 2)] * 2)


def test_flat_cell_is_fine_along_open_directions() -> None:
    cell = np.diag([3.0, 4.0, 0.0])
    positions = np.array([[0.0, 0, 0], [1.0, 1, 5]])
    edge_index, shifts = neighbor_list(positions, 3.5, cell, [True, True, False])
    assert edge_index.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert sorted(map(tuple, shifts[:2])) == [(-3, 0, 0), (3, 0, 0)]


@pytest.mark.parametrize("positions", [np.zeros((0, 3)), np.zeros((1, 3)), 9 * np.eye(3)])
def test_no_neighbours(positions) -> None:
    edge_index, shifts = neighbor_list(positions, 5.0)
    assert edge_index.shape == (2, 0)
    assert shifts.shape == (0, 3)
    assert edge_index.dtype == np.int64


def test_molecule_has_every_pair_twice() -> None:
    positions = np.random.default_rng(0).normal(size=(9, 3))
    edge_index, shifts = neighbor_list(positions, 50.0)
    assert edge_index.shape == (2, 72)
    assert not shifts.any()
    assert edge_index[0].tolist() == np.repeat(np.arange(9), 8).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 2)), 5.0), r"positions have shape \(3, 2\)"),
        ((np.array([[0, 0, 0], [0, np.nan, 0]]), 5.0), "position of atom 1 is not a number"),
        ((1e7 * np.eye(3), 5.0), "flown apart"),
        ((np.eye(3), -1.0), "cutoff must be positive"),
        ((np.eye(3), np.nan), "cutoff must be positive"),
        ((np.eye(3), 5.0, None, True), "spans no volume"),
        ((np.eye(3), 5.0, np.ones((3, 3)), True), "spans no volume"),
        ((np.eye(3), 5.0, np.ones(3), True), r"cell has shape \(3,\)"),
    ],
)
def test_wrong_input_is_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        neighbor_list(*arguments)
