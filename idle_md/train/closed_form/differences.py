"""What a new level has over a known one at labelled geometries, and along which directions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from idle_md.data import Store

Values = npt.NDArray[np.float64]
ENERGY, SLOPE = 0, 1  # kinds of observations


@dataclass(frozen=True)
class Differences:
    """Labels of a new level less those of a known one.

    Attributes
    ----------
    store
        The labelled geometries, n of them with A atoms in total; its labels are not used.
    energies, forces
        (n,) in eV and (A, 3) in eV/angstrom; NaN where there is no label.
    energy_variance, force_variance
        (n,) in eV^2 and (eV/angstrom)^2: how far the known level's values themselves may be off,
        where a model gave them.
    """

    store: Store
    energies: Values
    forces: Values
    energy_variance: Values
    force_variance: Values


@dataclass(frozen=True)
class Observed:
    """What is known of one geometry: its energy, unless that is NaN, and slopes of it.

    Attributes
    ----------
    geometry
        Its index.
    displacements
        Orthonormal directions (K, n, 3).
    energy, slopes
        The energy in eV and its derivatives (K,) in eV/angstrom.
    variances
        Known ones of an energy and of a slope.
    """

    geometry: int
    displacements: Tensor
    energy: float
    slopes: Tensor
    variances: tuple[float, float]

    @property
    def has_energy(self) -> bool:
        """Whether the energy is known."""
        return self.energy == self.energy

    def __len__(self) -> int:
        return int(self.has_energy) + len(self.slopes)

    @property
    def values(self) -> Tensor:
        """The energy, if it is known, and the slopes (len,)."""
        known = [self.energy] if self.has_energy else []
        return torch.cat([self.slopes.new_tensor(known), self.slopes])

    @property
    def kinds(self) -> Tensor:
        """``ENERGY`` or ``SLOPE`` (len,)."""
        kinds = [ENERGY] * self.has_energy + [SLOPE] * len(self.slopes)
        return torch.tensor(kinds, dtype=torch.int64, device=self.slopes.device)

    def to(self, device: torch.device) -> "Observed":
        """Return the same on a device."""
        moves, slopes = self.displacements.to(device), self.slopes.to(device)
        return replace(self, displacements=moves, slopes=slopes)

    def thinned(self, count: int) -> "Observed":
        """Return the same with the first directions alone."""
        return Observed(
            self.geometry,
            self.displacements[:count],
            self.energy,
            self.slopes[:count],
            self.variances,
        )


def observe(differences: Differences, most_rows: int, seed: int) -> list[Observed]:
    """Return all energies, and slopes along all directions or, if those are too many, along fewer.

    Directions are orthonormal, drawn at random, and none of them moves or turns a molecule whole.

    Parameters
    ----------
    differences
        Of two levels.
    most_rows
        Most observations in all, as long as every geometry with forces has one direction.
    seed
        Of the directions.
    """
    store, generator = differences.store, torch.Generator("cpu").manual_seed(seed)
    everything = []
    for index in range(store.n_geometries):
        atoms = slice(store.offsets[index], store.offsets[index + 1])
        forces = torch.from_numpy(differences.forces[atoms])
        known = not bool(torch.isnan(forces).any())
        positions = torch.from_numpy(store.positions[atoms])
        periodic = bool(store.pbc[index].any())
        moves = internal_displacements(positions, periodic, generator)[: None if known else 0]
        everything.append(
            Observed(
                index,
                moves,
                float(differences.energies[index]),
                -torch.einsum("kni,ni->k", moves, forces.nan_to_num()),
                (differences.energy_variance[index], differences.force_variance[index]),
            )
        )
    return thinned(everything, most_rows)


def thinned(observed: Sequence[Observed], most_rows: int) -> list[Observed]:
    """Return the same geometries with so few directions that there are at most so many rows."""
    most = max(len(one.slopes) for one in observed)
    for count in range(most, 0, -1):
        fewer = [one.thinned(count) for one in observed]
        if sum(len(one) for one in fewer) <= most_rows:
            return fewer
    return [one.thinned(1) for one in observed]


def sampled(observed: Sequence[Observed], most_rows: int, seed: int) -> list[Observed]:
    """Return at most so many rows, of all geometries or of a random choice of them."""
    order = np.random.default_rng(seed).permutation(len(observed))
    chosen = [observed[index] for index in order[: max(2, most_rows // 2)]]
    return thinned(chosen, most_rows)


def internal_displacements(positions: Tensor, periodic: bool, generator: torch.Generator) -> Tensor:
    """Return an orthonormal basis (K, n, 3) of displacements that move no molecule whole.

    It spans all 3 n directions but translations and, unless periodic, rotations, and is drawn at
    random, so that its first members are a random choice.
    """
    n_atoms = len(positions)
    axes = torch.eye(3, dtype=torch.float64, device=positions.device)
    rigid = [axis.expand(n_atoms, 3) for axis in axes]
    if not periodic:
        arms = positions.double() - positions.double().mean(0)
        rigid += [torch.linalg.cross(axis.expand(n_atoms, 3), arms) for axis in axes]
    stacked = torch.stack(rigid).flatten(1).T  # (3 n, 3 or 6)
    basis, strength, _ = torch.linalg.svd(stacked, full_matrices=True)
    rest = basis[:, int((strength > 1e-6 * strength[0]).sum()) :]
    size = rest.shape[1]
    drawn = torch.randn(size, size, generator=generator, dtype=torch.float64, device="cpu")
    turned, _ = torch.linalg.qr(drawn)
    moves: Tensor = (rest @ turned).T.reshape(size, n_atoms, 3)
    return moves
