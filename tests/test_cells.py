"""Cells in the form that OpenMM and LAMMPS take."""

import ase
import numpy as np
import pytest

from idle_md.cells import in_standard_form, spanning, standard_form
from idle_md.neighbors import neighbor_list


def random_cell(seed: int) -> np.ndarray:
    """A skewed cell, left-handed for odd seeds."""
    cell = np.random.default_rng(seed).normal(size=(3, 3)) * 3.0 + 4.0 * np.eye(3)
    return cell if (np.linalg.det(cell) > 0) == (seed % 2 == 0) else cell[[1, 0, 2]]


@pytest.mark.parametrize("seed", range(8))
def test_standard_form_is_the_same_lattice_turned_not_mirrored(seed) -> None:
    cell = random_cell(seed)
    assert np.sign(np.linalg.det(cell)) == 1 - 2 * (seed % 2)
    triangle, rotation = standard_form(cell)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert np.linalg.det(triangle) == pytest.approx(abs(np.linalg.det(cell)))
    change = triangle @ rotation @ np.linalg.inv(cell)  # of the basis: whole numbers
    np.testing.assert_allclose(change, np.round(change), atol=1e-9)
    assert abs(np.linalg.det(np.round(change))) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(8))
def test_standard_form_is_lower_triangular_and_reduced(seed) -> None:
    triangle, _ = standard_form(random_cell(seed))
    assert np.array_equal(triangle, np.tril(triangle))
    lengths = np.diag(triangle)
    assert (lengths > 0).all()
    for row, column in ((1, 0), (2, 0), (2, 1)):
        assert abs(triangle[row, column]) <= 0.5 * lengths[column] * (1 + 1e-12)
    again, rotation = standard_form(triangle)
    np.testing.assert_allclose(again, triangle, atol=1e-12)
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (0, 1, 0), (0, 0, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_structure_keeps_its_distances_and_turns_its_vectors(seed, pbc) -> None:
    generator = np.random.default_rng(seed)
    periodic = np.array(pbc, dtype=bool)
    atoms = ase.Atoms("CHNO", generator.normal(size=(4, 3)), cell=random_cell(seed), pbc=periodic)
    atoms.set_momenta(generator.normal(size=(4, 3)))
    turned, rotation = in_standard_form(atoms)
    assert list(turned.pbc) == list(periodic)
    np.testing.assert_allclose(turned.positions @ rotation, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(turned.get_momenta() @ rotation, atoms.get_momenta(), atol=1e-12)
    lengths = []
    for each in (atoms, turned):
        edges, shifts = neighbor_list(each.positions, 6.0, each.cell.array, each.pbc)
        vectors = each.positions[edges[1]] - each.positions[edges[0]] + shifts
        lengths.append(np.sort(np.linalg.norm(vectors, axis=1)))
    np.testing.assert_allclose(*lengths, atol=1e-9)


@pytest.mark.parametrize("pbc", [(1, 1, 0), (0, 1, 1), (1, 0, 1), (0, 1, 0), (1, 0, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_open_directions_are_unit_normals_of_a_right_handed_cell(seed, pbc) -> None:
    periodic, cell = np.array(pbc, dtype=bool), random_cell(seed)
    full = spanning(cell, periodic)
    assert np.array_equal(full[periodic], cell[periodic])
    added = full[~periodic]
    np.testing.assert_allclose(added @ added.T, np.eye(len(added)), atol=1e-12)
    np.testing.assert_allclose(added @ cell[periodic].T, 0.0, atol=1e-12)
    gram = cell[periodic] @ cell[periodic].T
    assert np.linalg.det(full) == pytest.approx(np.sqrt(np.linalg.det(gram)))


def test_what_is_periodic_in_all_directions_or_none_stays() -> None:
    cell = random_cell(1)
    assert np.array_equal(spanning(cell, [True] * 3), cell)
    assert np.array_equal(spanning(cell, [False] * 3), np.eye(3))
    assert np.array_equal(standard_form(np.zeros((3, 3)), False)[1], np.eye(3))


@pytest.mark.parametrize("pbc", [True, [True, True, False]])
def test_lattice_vectors_that_span_nothing_are_an_error(pbc) -> None:
    with pytest.raises(ValueError, match="spans no volume along"):
        standard_form([[5, 0, 0], [5, 0, 0], [0, 0, 5]], pbc)
