"""How one set of atoms is laid on another: turned, moved, mirrored and renumbered."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

ROUNDING = 1e-5
"""angstrom: a superposition that cannot be bettered."""
_ATOM = 0.3  # angstrom; no two atoms are as close
_FLAT = 0.05  # angstrom off a line or a plane, which is not worth an anchor


@dataclass(frozen=True)
class Superposition:
    """How one geometry becomes another: ``vectors[order] @ rotation`` are in its frame.

    Attributes
    ----------
    order
        Atom of the one for each of the other, shape (n,).
    rotation
        Orthogonal, shape (3, 3); its determinant is -1 for mirror images.
    """

    order: Indices
    rotation: Array

    def __call__(self, vectors: NDArray[np.floating[Any]]) -> NDArray[Any]:
        """Vectors (n, 3) of the one in the frame of the other, as precise as they are."""
        return (vectors[self.order] @ self.rotation).astype(vectors.dtype)

    def stress(self, stress: Array) -> Array:
        """A stress (6,) of the one in the frame of the other."""
        turned = self.rotation.T @ voigt_6_to_full_3x3_stress(stress) @ self.rotation
        return np.asarray(full_3x3_to_voigt_6_stress(turned))


def superposed_molecules(
    numbers: tuple[Indices, Indices], positions: tuple[Array, Array], tolerance: float
) -> Superposition | None:
    """The best superposition of molecules, but the first that is as good as rounding allows.

    ``numbers`` (n,) and ``positions`` (n, 3) are those of the one and of the other. None where an
    atom is left farther away than the tolerance, in angstrom.
    """
    one, other = (each - each.mean(axis=0) for each in positions)
    best, least = None, tolerance
    for order in _orders(numbers, one, other, tolerance):
        rotation = best_rotation(one, other[order])
        left = float(np.linalg.norm(other[order] @ rotation - one, axis=1).max())
        if left <= least:
            best, least = Superposition(order, rotation), left
        if least < ROUNDING:
            break
    return best


def _orders(
    numbers: tuple[Indices, Indices], one: Array, other: Array, tolerance: float
) -> Iterator[Indices]:
    """Which atom of the other geometry each atom may be: those of symmetric molecules are many."""
    if np.array_equal(*numbers):
        yield np.arange(len(one))
    anchors = _anchors(one)
    for images in _images(numbers, (one, other), anchors, 2 * tolerance):
        order = _paired(numbers, one, other @ best_rotation(one[anchors], other[images]))
        if order is not None:
            yield order


def best_rotation(one: Array, other: Array) -> Array:
    """The best rotation or reflection of ``other`` onto ``one``, both (..., n, 3).

    Source: Kabsch, Acta Cryst. A 32, 922 (1976).
    """
    u, _, vt = np.linalg.svd(np.swapaxes(other, -1, -2) @ one)
    rotation: Array = u @ vt
    return rotation


def _anchors(positions: Array) -> list[int]:
    """Up to three atoms (of n, centred) that together with the centre make a frame."""
    left, anchors = positions.copy(), []
    for _ in range(3):
        lengths = np.linalg.norm(left, axis=1)
        anchors.append(int(lengths.argmax()))
        if lengths.max() < _FLAT:
            return anchors[:-1]
        axis = left[anchors[-1]] / lengths.max()
        left -= np.outer(left @ axis, axis)
    return anchors


def _images(
    numbers: tuple[Indices, Indices],
    positions: tuple[Array, Array],
    anchors: list[int],
    tolerance: float,
    chosen: tuple[int, ...] = (),
) -> Iterator[list[int]]:
    """Atoms of the other geometry that the anchors may be, by distances to each other."""
    if len(chosen) == len(anchors):
        yield list(chosen)
        return
    one, other = positions
    anchor = anchors[len(chosen)]
    fits = (numbers[1] == numbers[0][anchor]) & (
        np.abs(np.linalg.norm(other, axis=1) - np.linalg.norm(one[anchor])) <= tolerance
    )
    for earlier, image in zip(anchors, chosen, strict=False):
        distance = np.linalg.norm(one[anchor] - one[earlier])
        fits &= np.abs(np.linalg.norm(other - other[image], axis=1) - distance) <= tolerance
    for image in np.flatnonzero(fits).tolist():
        yield from _images(numbers, positions, anchors, tolerance, (*chosen, image))


def _paired(numbers: tuple[Indices, Indices], one: Array, other: Array) -> Indices | None:
    """The atom of the other geometry on top of each; None unless there is one, of its element."""
    distances, order = cKDTree(other).query(one)
    return _checked(numbers, order) if distances.max() < _ATOM else None


def _checked(numbers: tuple[Indices, Indices], order: Indices) -> Indices | None:
    whole = len(np.unique(order)) == len(order) and np.array_equal(numbers[0], numbers[1][order])
    return order if whole else None


def superposed_crystals(
    numbers: tuple[Indices, Indices],
    positions: tuple[Array, Array],
    cells: tuple[Array, Array],
    pbc: NDArray[np.bool_],
    tolerance: float,
) -> Superposition | None:
    """The same for crystals with lattice vectors ``cells`` (3, 3), of the same periodicity."""
    rotation = best_rotation(*cells)
    if np.linalg.norm(cells[1] @ rotation - cells[0], axis=1).max() > tolerance:
        return None
    one, other = (x @ np.linalg.inv(c) for x, c in zip(positions, cells, strict=True))
    same = np.arange(len(one))
    if np.array_equal(*numbers) and _shifted(one, other, cells[0], pbc) <= tolerance:
        return Superposition(same, rotation)
    kinds, counts = np.unique(numbers[0], return_counts=True)
    rare = kinds[counts.argmin()]
    anchor = one[np.flatnonzero(numbers[0] == rare)[0]]
    tree = cKDTree(np.where(pbc, _wrapped(other), other), boxsize=pbc.astype(float))
    for image in np.flatnonzero(numbers[1] == rare):
        moved = one + other[image] - anchor
        moved = np.where(pbc, _wrapped(moved), moved)
        if len(moved) > 8 and tree.query(moved[:8])[0].max() > _ATOM:
            continue
        order = _checked(numbers, tree.query(moved)[1])
        if order is not None and _shifted(one, other[order], cells[0], pbc) <= tolerance:
            return Superposition(order, rotation)
    return None


def _wrapped(fractional: Array) -> Array:
    wrapped: Array = fractional % 1.0 % 1.0  # the remainder of -1e-17 is 1
    return wrapped


def _shifted(one: Array, other: Array, cell: Array, pbc: NDArray[np.bool_]) -> float:
    """How far an atom is from its image at most, in angstrom, after the best shift."""
    step = other - one
    step = step - step[0]
    step = (step - np.where(pbc, np.round(step), 0.0)) @ cell
    return float(np.linalg.norm(step - step.mean(axis=0), axis=1).max())
