"""Structures as balls and sticks."""

from typing import Any

import ase
import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from idle_md.bonds import bond_vectors, find_bonds
from idle_md.report.plots import new_axes, svg

MOST = 60  # atoms that are drawn, those around the worst
BALL = 0.45  # of the covalent radius
ARROW = 1.2  # angstrom, of the largest error
RED = "#c81e1e"
Reals = npt.NDArray[np.float64]


def draw_structure(atoms: ase.Atoms, errors: Reals | None = None) -> str:
    """Return the SVG of a structure, seen from where it is widest.

    Parameters
    ----------
    atoms
        N atoms; of many, only those around the one with the largest error are drawn.
    errors
        Vectors (N, 3) that are drawn as arrows, the longest always the same length.
    """
    vectors = np.zeros((len(atoms), 3)) if errors is None else errors
    if len(atoms) > MOST:
        atoms, vectors = _surroundings(atoms, vectors)
    bonds = find_bonds(atoms)
    axes_of_view = _widest(atoms.positions)
    points = (atoms.positions - atoms.positions.mean(0)) @ axes_of_view.T
    sticks = bond_vectors(atoms, bonds) @ axes_of_view.T
    figure, axes = new_axes(3.0, 2.6)
    for (first, _), stick in zip(bonds, sticks, strict=True):
        ends = np.stack([points[first], points[first] + stick])
        depth = float(ends[:, 2].mean())
        axes.plot(*ends[:, :2].T, lw=3.0, color="#9ca3af", solid_capstyle="round", zorder=depth)
    for point, number in zip(points, atoms.numbers, strict=True):
        radius, colour = BALL * covalent_radii[number], jmol_colors[number]
        style = {"facecolor": colour, "edgecolor": "#374151", "lw": 0.6}
        axes.add_patch(Circle(point[:2], radius, zorder=float(point[2]), **style))
    _draw_arrows(axes, points, vectors @ axes_of_view.T)
    margin = ARROW + 0.4
    axes.set(
        xlim=(points[:, 0].min() - margin, points[:, 0].max() + margin),
        ylim=(points[:, 1].min() - margin, points[:, 1].max() + margin),
        aspect="equal",
    )
    axes.axis("off")
    return svg(figure)


def _draw_arrows(axes: Axes, points: Reals, vectors: Reals) -> None:
    longest = float(np.linalg.norm(vectors, axis=1).max())
    if longest == 0.0:
        return
    scaled = ARROW / longest * vectors
    above = float(points[:, 2].max()) + 1.0
    style: dict[str, Any] = {
        "angles": "xy",
        "scale_units": "xy",
        "scale": 1,
        "width": 0.012,
        "color": RED,
    }
    axes.quiver(*points[:, :2].T, *scaled[:, :2].T, zorder=above, **style)


def _widest(positions: Reals) -> Reals:
    """Return the axes of view as rows (3, 3): the plane of the largest extent, then the depth."""
    centred = positions - positions.mean(0)
    _, _, rows = np.linalg.svd(np.vstack([centred, np.zeros((3, 3))]), full_matrices=False)
    axes: Reals = rows
    return axes


def _surroundings(atoms: ase.Atoms, vectors: Reals) -> tuple[ase.Atoms, Reals]:
    """Return the atoms around the one with the longest vector, unwrapped, and their vectors."""
    worst = int(np.linalg.norm(vectors, axis=1).argmax())
    periodic = bool(atoms.pbc.any())
    away = atoms.get_distances(worst, np.arange(len(atoms)), mic=periodic, vector=True)
    near = np.argsort(np.linalg.norm(away, axis=1))[:MOST]
    return ase.Atoms(atoms.numbers[near], away[near]), vectors[near]
