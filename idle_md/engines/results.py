"""What engines give: one result of an evaluation, one of molecular dynamics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from idle_md.engines.md_settings import MDSettings

Array = NDArray[np.float64]

SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Prediction:
    """What a model gives for one structure, in every engine.

    Attributes
    ----------
    energy
        Total energy in eV, reference energies included.
    forces
        (N, 3) in eV/angstrom.
    energies
        Of the atoms (N,) in eV; None where the engine has none.
    stress
        (6,) in eV/angstrom^3, in ASE's order (xx, yy, zz, yz, xz, xy) and sign; None unless the
        structure is periodic in all directions and the engine has one.
    virial
        ``-sum r (x) dE/dr`` over edges (3, 3) in eV, of structures of any periodicity, where there
        is no volume to make a stress of it; None where the engine gives none.
    """

    energy: float
    forces: Array
    energies: Array | None = None
    stress: Array | None = None
    virial: Array | None = None


@dataclass(frozen=True)
class LeftOut:
    """In the place of a prediction: why an engine did not evaluate a structure."""

    reason: str


class PredictionError(ValueError):
    """Structures have no prediction; the others' are in ``results``.

    Parameters
    ----------
    found
        Predictions by place.
    left_out
        Why there is none, by place.

    Attributes
    ----------
    results
        One for every structure, in their order: a :class:`Prediction`, or a :class:`LeftOut` with
        the reason.
    """

    def __init__(self, found: Mapping[int, Prediction], left_out: Mapping[int, str]) -> None:
        self.results: list[Prediction | LeftOut] = [
            found[k] if k in found else LeftOut(left_out[k])
            for k in range(len(found) + len(left_out))
        ]
        first, *others = (left_out[k] for k in sorted(left_out))
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(f"{first}{more}; `results` of this error has those of the others")
        self._parts = found, left_out

    def __reduce__(self) -> tuple[Any, ...]:
        return PredictionError, self._parts


def stress_of(virial: Array, atoms: ase.Atoms) -> Array:
    """Return the stress (..., 6) in eV/angstrom^3, as ASE has it, of virials (..., 3, 3) in eV."""
    return np.asarray(full_3x3_to_voigt_6_stress(-virial / atoms.get_volume()))


@dataclass(frozen=True)
class MDResult:
    """What a run of molecular dynamics gave, in every engine.

    Attributes
    ----------
    settings
        Those of the run, with what was chosen for it: backend, platform, kernels and threads.
    ns_per_day
        Speed with reports included.
    times_ps, potential_ev, kinetic_ev
        Reports (n,), the first of them before the first step.
    final
        Last structure.
    """

    settings: MDSettings
    ns_per_day: float
    times_ps: Array
    potential_ev: Array
    kinetic_ev: Array
    final: ase.Atoms

    @property
    def total_ev(self) -> Array:
        """Total energy of every report (n,) in eV."""
        return self.potential_ev + self.kinetic_ev

    @property
    def nve_drift_mev_per_atom_per_ps(self) -> float | None:
        """Slope of the total energy per atom; None for other ensembles and under three reports."""
        if self.settings.ensemble != "nve" or len(self.times_ps) < 3:
            return None
        return drift_mev_per_atom_per_ps(self.times_ps, self.total_ev, len(self.final))

    @property
    def ran_by(self) -> str:
        """Engine, and how it ran the model, such as ``"OpenMM Reference through torchforce"``."""
        if self.settings.engine == "lammps":
            ranks = self.settings.ranks
            return f"LAMMPS on {ranks} MPI rank{'s' if ranks > 1 else ''}"
        return f"OpenMM {self.settings.platform} through {self.settings.backend}"


Progress = Callable[[int, float], None]
"""Called with the number of steps done and the speed so far in ns/day."""


def ns_per_day(steps: float, timestep_fs: float, seconds: float) -> float:
    """Return the speed in ns/day of steps that took some seconds."""
    return steps * timestep_fs * 1e-6 / seconds * SECONDS_PER_DAY


def drift_mev_per_atom_per_ps(times_ps: Array, total_ev: Array, n_atoms: int) -> float:
    """Return the slope of a linear fit of total energies (n,) per atom over times (n,)."""
    return 1e3 * float(np.polyfit(times_ps, total_ev, 1)[0]) / n_atoms
