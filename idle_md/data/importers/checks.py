"""What energies, forces and distances look like, whatever a file says of their units."""

from dataclasses import dataclass

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from idle_md.bonds import closest_ratio
from idle_md.data.store import Store
from idle_md.units import HARTREE

_SAMPLE = 2000
_SPREAD = 0.5
_GROUPS, _PAIRS = 20, 100
_STRAINED = 100  # geometries of a kind whose boxes are compared
_LEAST_STRAIN, _MOST_STRAIN = 1e-4, 0.1
_ATOM_PAIRS = 1_000_000  # atoms in all pairs looked at, which bounds time and memory


def sampled(store: Store, mask: NDArray[np.bool_], size: int = _SAMPLE) -> Store:
    """A few of the geometries that a mask allows, always the same ones."""
    allowed = np.flatnonzero(mask)
    rng = np.random.default_rng(0)
    return store.select(np.sort(rng.permutation(allowed)[:size]))


@dataclass
class Energies:
    """Energies of a sample beside those of its isolated atoms.

    Attributes
    ----------
    energy
        As in the file, shape (n,).
    atoms
        All-electron energies of the atoms in eV, shape (n,), good to three per cent or better.
    n_atoms
        Number of atoms, shape (n,).
    """

    energy: NDArray[np.float64]
    atoms: NDArray[np.float64]
    n_atoms: NDArray[np.int64]

    @property
    def figures(self) -> str:
        """Medians of both energies per atom."""
        energy, atoms = np.median(self.energy / self.n_atoms), np.median(self.atoms / self.n_atoms)
        return f"{energy:.5g} per atom, isolated atoms have {atoms / HARTREE:.4g} hartree"

    def are_total(self, unit: float) -> bool:
        """Whether most are total energies in a unit, of molecules bound by up to 8 eV an atom."""
        bound, slack = self.atoms - unit * self.energy, 0.03 * np.abs(self.atoms)
        return bool(np.mean((bound > -slack) & (bound < slack + 8 * self.n_atoms)) > 0.5)

    def are_too_low(self, unit: float) -> bool:
        """Whether most are lower than all electrons of the atoms can give."""
        bound, slack = self.atoms - unit * self.energy, 0.03 * np.abs(self.atoms)
        return bool(np.mean(bound > slack + 8 * self.n_atoms) > 0.5)

    def are_atomisation(self, unit: float) -> bool:
        """Whether most are relative to the atoms, by 1.5 to 7.5 eV an atom."""
        bound = -unit * self.energy / self.n_atoms
        return 1.5 < float(np.median(bound)) < 7.5


def energies(store: Store, fidelity: str) -> Energies:
    """A sample of the energies of one level.

    The statistical atom gives those of the atoms, E = -0.768745 Z^(7/3) + Z^2/2 - 0.2699 Z^(5/3)
    hartree. Source: Schwinger, Phys. Rev. A 24, 2353 (1981).
    """
    sample = sampled(store, store.has_energy(fidelity))
    z = sample.numbers.astype(np.float64)
    atoms = -0.768745 * z ** (7 / 3) + z**2 / 2 - 0.2699 * z ** (5 / 3)
    return Energies(
        sample.labels[fidelity].energy,
        HARTREE * np.add.reduceat(atoms, sample.offsets[:-1]),
        sample.n_atoms,
    )


def contacts(store: Store) -> tuple[float, float]:
    """Shortest distances over the sum of the covalent radii in angstrom: median, least of a sample.

    They are 0.75 to 1.1 for molecules in angstrom, the least even where most are dissociated; NaN
    where there are atoms only.
    """
    sample = sampled(store, store.n_atoms > 1, 200)
    ratios = [closest_ratio(sample.atoms(index)) for index in range(sample.n_geometries)]
    return (float(np.median(ratios)), float(min(ratios))) if ratios else (np.nan, np.nan)


def net_force(store: Store, fidelity: str) -> float:
    """Sum of the forces over the sum of their lengths, median of a sample; NaN without forces."""
    sample = sampled(store, store.has_forces(fidelity) & (store.n_atoms > 1))
    if sample.n_geometries == 0:
        return np.nan
    forces = sample.labels[fidelity].forces.astype(np.float64)
    net = np.linalg.norm(np.add.reduceat(forces, sample.offsets[:-1]), axis=1)
    lengths = np.add.reduceat(np.linalg.norm(forces, axis=1), sample.offsets[:-1])
    return float(np.median(net / np.maximum(lengths, 1e-12)))


@dataclass
class Pairs:
    """Close geometries of one molecule: how energies and forces go together.

    Attributes
    ----------
    slope
        Energy difference over the work of the forces, median over pairs: 1 in consistent units,
        negative for gradients.
    spread
        Interquartile range of the same over its median. Below 0.5 the slope was 0.88 to 1.15 in
        hundreds of draws of 8 to 150 geometries of molecules at 300 to 1000 K.
    stiffness
        Change of the forces over that of the positions, median; 10 to 48 eV/angstrom^2 in those.
    n_pairs
        Number of pairs.
    """

    slope: float
    spread: float
    stiffness: float
    n_pairs: int


def pairs(store: Store, fidelity: str) -> Pairs | None:
    """Compare energies with forces; None where too few geometries have both, or are too far apart.

    Pairs are the closest ones, after superposition (Kabsch, Acta Cryst. A 32, 922 (1976)), among
    geometries of the same atoms in the same order.
    """
    both = store.has_energy(fidelity) & store.has_forces(fidelity) & ~store.pbc.any(axis=1)
    anchors = sampled(store, both & (store.n_atoms > 1), _GROUPS)
    each = np.split(anchors.numbers, anchors.offsets[1:-1])
    molecules = {(a, z.tobytes()): z for a, z in zip(anchors.group, each, strict=False)}
    parts = [np.empty((0, 4))]
    for (name, _), numbers in molecules.items():
        alike = both & (store.group == name) & (store.n_atoms == len(numbers))
        size = int(np.sqrt(2 * _ATOM_PAIRS / len(molecules) / len(numbers)))
        parts.append(_differences(sampled(store, alike, size), fidelity, numbers))
    every = np.concatenate(parts)
    every = every[every.all(axis=1)]  # no copies
    close = every[np.argsort(every[:, 0], kind="stable")[:_PAIRS]]
    if len(close) < 10:
        return None
    step, change, difference, work = close.T
    low, slope, high = np.quantile(difference / work, (0.25, 0.5, 0.75))
    spread, stiffness = (high - low) / abs(slope), np.median(change / step)
    if spread > _SPREAD:
        return None
    return Pairs(float(slope), float(spread), float(stiffness), len(close))


def _differences(sample: Store, fidelity: str, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Lengths of step and force change, energy difference and work of all pairs of some atoms."""
    shape = (sample.n_geometries, len(numbers))
    same = (sample.numbers.reshape(shape) == numbers).all(axis=1)
    x = sample.positions.reshape(*shape, 3)[same]
    f = sample.labels[fidelity].forces.astype(np.float64).reshape(*shape, 3)[same]
    energy = sample.labels[fidelity].energy[same]
    x = x - x.mean(axis=1, keepdims=True)
    one, two = np.triu_indices(len(x), k=1)
    u, _, vt = np.linalg.svd(np.einsum("pai,paj->pij", x[two], x[one]))
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]  # no reflections
    step, change = x[one] - x[two] @ u @ vt, f[one] - f[two] @ u @ vt
    work = -np.sum((f[one] - 0.5 * change) * step, axis=(1, 2))
    lengths = [np.linalg.norm(each, axis=(1, 2)) for each in (step, change)]
    return np.stack([*lengths, energy[one] - energy[two], work], axis=1)


def virial_per_atom(store: Store, fidelity: str) -> float:
    """Median of the largest component of the virials per atom, in eV; NaN without stress."""
    sample = sampled(store, store.has_stress(fidelity))
    if sample.n_geometries == 0:
        return np.nan
    largest = np.abs(sample.labels[fidelity].stress).max(axis=1)
    return float(np.median(largest * sample.volume / sample.n_atoms))


def strain_slope(store: Store, fidelity: str) -> float | None:
    """Energy difference over the work of the stress, median over pairs of strained boxes.

    It is 1 in consistent units of the right sign. Pairs have the same atoms in the same order; the
    work of the forces between them, which must be the smaller part, is taken off. None where there
    are too few pairs or they do not agree.
    """
    both = store.has_energy(fidelity) & store.has_stress(fidelity)
    found = [np.empty((0, 2))]
    for name in np.unique(store.group[both]):
        kind = both & (store.group == name)
        first = int(np.flatnonzero(kind)[0])
        numbers = store.numbers[store.offsets[first] : store.offsets[first + 1]]
        most = min(_STRAINED, int(np.sqrt(2 * _ATOM_PAIRS / len(numbers))))
        sample = sampled(store, kind & (store.n_atoms == len(numbers)), most)
        same = (sample.numbers.reshape(-1, len(numbers)) == numbers).all(axis=1)
        found.append(_strain_works(sample.select(same), fidelity))
    difference, work = np.concatenate(found).T
    if len(work) < 10:
        return None
    low, slope, high = np.quantile(difference / work, (0.25, 0.5, 0.75))
    return float(slope) if high - low <= _SPREAD * abs(slope) else None


def _strain_works(sample: Store, fidelity: str) -> NDArray[np.float64]:
    """Energy difference less the work of forces, and work of the stress, of pairs (P, 2) of boxes.

    Each pair is taken at its mean box, so that the works are right to the third order.
    """
    labels, cell = sample.labels[fidelity], sample.cell
    one, two = np.triu_indices(sample.n_geometries, k=1)
    mean = 0.5 * (cell[one] + cell[two])
    strain = np.linalg.solve(mean, cell[two] - cell[one])
    size = np.abs(strain).max(axis=(1, 2))
    near = (size > _LEAST_STRAIN) & (size < _MOST_STRAIN)
    one, two, mean, strain = one[near], two[near], mean[near], strain[near]
    x = np.linalg.solve(
        np.swapaxes(cell, 1, 2), np.swapaxes(sample.positions.reshape(len(cell), -1, 3), 1, 2)
    )  # fractional coordinates (G, 3, A)
    moved = x[two] - x[one]
    moved -= np.round(moved)
    forces = np.nan_to_num(labels.forces.astype(np.float64).reshape(len(cell), -1, 3))
    steps = np.swapaxes(moved, 1, 2) @ mean
    of_forces = -0.5 * np.sum((forces[one] + forces[two]) * steps, axis=(1, 2))
    stress = voigt_6_to_full_3x3_stress(0.5 * (labels.stress[one] + labels.stress[two]))
    of_stress = np.abs(np.linalg.det(mean)) * np.sum(stress * strain, axis=(1, 2))
    difference = labels.energy[two] - labels.energy[one] - of_forces
    pairs = np.stack([difference, of_stress], axis=1)
    return np.asarray(pairs[(np.abs(difference) > np.abs(of_forces)) & (of_stress != 0)])
