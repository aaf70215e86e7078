"""Errors by element, molecule and temperature, and the structures that are worst."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from idle_md.elements import symbols
from idle_md.report.held_out import HeldOut
from idle_md.train.errors import relative

SHOWN = 20  # molecules
BINS = 6  # of temperatures, where there are more of them
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Deviations:
    """Predictions less labels; NaN where not labelled.

    Attributes
    ----------
    energies, relative
        In eV, shape (G,); the second without the mean of the molecule.
    forces
        In eV/angstrom, shape (A, 3).
    geometry
        Which one every atom belongs to, shape (A,).
    """

    energies: Reals
    relative: Reals
    forces: Reals
    geometry: npt.NDArray[np.int64]

    @classmethod
    def of(cls, held: HeldOut) -> "Deviations":
        """Return the deviations of what is held out."""
        labels, store = held.store.labels_of(held.fidelity), held.store
        energies = held.energies - labels.energy
        known, less_mean = np.isfinite(energies), np.full_like(energies, np.nan)
        less_mean[known] = relative(energies[known], store.group[known])
        geometry = np.repeat(np.arange(store.n_geometries), store.n_atoms)
        return cls(energies, less_mean, held.forces - labels.forces, geometry)

    def by_geometry(self) -> tuple[Reals, str]:
        """Return the errors of geometries (G,) in a unit, of forces if any are labelled."""
        if np.isnan(self.forces).all():
            return 1e3 * np.abs(self.relative), "meV"
        sums = np.bincount(self.geometry, np.abs(self.forces).mean(1))
        return 1e3 * sums / np.bincount(self.geometry), "meV/Å"


@dataclass(frozen=True)
class Line:
    """Mean absolute errors of a part: meV, meV and meV/angstrom; None where nothing is labelled."""

    name: str
    count: int
    energy: float | None
    relative: float | None
    force: float | None


def by_element(held: HeldOut) -> list[Line]:
    """Return force errors by element; ``count`` is of atoms."""
    forces, numbers = Deviations.of(held).forces, held.store.numbers
    lines = []
    for number in held.store.elements:
        mine = forces[numbers == number]
        lines.append(Line(symbols([number])[0], len(mine), None, None, _mean(mine)))
    return [line for line in lines if line.force is not None]


def by_group(held: HeldOut) -> tuple[list[Line], int]:
    """Return errors by molecule, the worst first, and how many more there are."""
    lines = _by_geometries(held, held.store.group)
    lines.sort(key=lambda line: (line.force or 0.0, line.relative or 0.0), reverse=True)
    return lines[:SHOWN], max(len(lines) - SHOWN, 0)


def by_temperature(held: HeldOut) -> list[Line]:
    """Return errors by the temperature that geometries were sampled at, if that is known."""
    names = [name for name in held.store.info if name.lower().startswith("temperature")]
    if not names or not np.issubdtype(held.store.info[names[0]].dtype, np.number):
        return []
    return _by_geometries(held, _binned(held.store.info[names[0]].astype(np.float64)))


def _binned(kelvin: Reals) -> npt.NDArray[np.str_]:
    """Return temperatures (G,), or intervals of them where there are many, as words."""
    known, names = np.isfinite(kelvin), np.full(len(kelvin), "not given", dtype="<U24")
    different = np.unique(kelvin[known])
    names[known] = [f"{value:g} K" for value in kelvin[known]]
    if len(different) > BINS:
        edges = np.linspace(different[0], different[-1], BINS + 1)
        place = np.clip(np.searchsorted(edges, kelvin[known], "right") - 1, 0, BINS - 1)
        names[known] = [f"{edges[k]:.0f} to {edges[k + 1]:.0f} K" for k in place]
    return names


def _by_geometries(held: HeldOut, names: npt.NDArray[Any]) -> list[Line]:
    """Return a line for each name of geometries (G,), in the order of what they begin with."""
    deviations = Deviations.of(held)
    lines = []
    for name in sorted(np.unique(names).tolist(), key=_numerically):
        mine = names == name
        energy, less_mean = deviations.energies[mine], deviations.relative[mine]
        force = deviations.forces[mine[deviations.geometry]]
        means = _mean(energy), _mean(less_mean), _mean(force)
        lines.append(Line(name or "no name", int(mine.sum()), *means))
    return lines


def _numerically(name: str) -> tuple[float, str]:
    first = name.partition(" ")[0]
    return (float(first) if first.replace(".", "").isdigit() else float("inf")), name


def _mean(deviations: Reals) -> float | None:
    known = deviations[np.isfinite(deviations)]
    return 1e3 * float(np.abs(known).mean()) if len(known) else None
