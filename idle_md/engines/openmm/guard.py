"""Dynamics that is stopped where it breaks, with its last good structure kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray
from openmm import Context, OpenMMException, State, app, unit

from idle_md.bonds import BONDED, BROKEN, bond_vectors, find_bonds, radii_sums
from idle_md.engines.openmm.spread import NextReport
from idle_md.files import replacing


class UnstableError(ValueError):
    """Molecular dynamics gave a structure, a force or an energy that cannot be.

    Attributes
    ----------
    step
        Step of the run at which that was seen.
    atoms
        Indices of the particles concerned.
    reason
        What was seen.
    frame
        File with the last good structure.
    """

    def __init__(
        self, step: int, atoms: list[int], reason: str, frame: Path, good_step: int
    ) -> None:
        when = f"between steps {good_step} and {step}" if step > good_step else "at its start"
        super().__init__(
            f"the dynamics became unstable {when} ({reason}): start from a relaxed structure "
            f"(minimize), or take a shorter timestep; the last good frame, of step {good_step}, is "
            f"in {frame}"
        )
        self.step, self.atoms, self.reason, self.frame = step, atoms, reason, frame


class GuardReporter:
    """OpenMM reporter that stops a run whose energy, forces or bonds cannot be.

    Checked are the positions, forces and energy for values that are not numbers, and bonds, by
    default those of the start (:func:`~idle_md.bonds.find_bonds`), for their lengths. OpenMM's own
    exceptions between two reports do not come to a reporter: run the steps inside :meth:`watching`,
    which makes the same of them.

    >>> guard = GuardReporter("last_good.xyz", 100, atoms)
    >>> simulation.reporters.append(guard)
    >>> with guard.watching(simulation.context):
    ...     simulation.step(10_000)

    Parameters
    ----------
    frame
        Where a run that is stopped leaves its last good structure, as extended XYZ.
    interval
        Steps between checks.
    start
        Structure of all particles before the first step, periodic or not as the System is; its
        bonds are watched. Particles of atomic number 0 have none.
    max_stretch
        Longest bond that a run goes on with, in sums of the covalent radii of its atoms. 2 is a
        broken bond; None allows every reaction.
    explain
        Says why a structure has no energy, or nothing, where that is not a number.
    bonds
        Indices (B, 2) of the atoms whose bonds are watched, where a topology says them; by default
        atoms that are close at the start, which those of two molecules can be before it is relaxed.

    Raises
    ------
    UnstableError
        From :meth:`report` and :meth:`watching`.
    """

    def __init__(
        self,
        frame: str | Path,
        interval: int,
        start: ase.Atoms,
        max_stretch: float | None = BROKEN,
        explain: Callable[[ase.Atoms], str] | None = None,
        bonds: NDArray[np.int64] | None = None,
    ) -> None:
        if max_stretch is not None and max_stretch <= BONDED:
            raise ValueError(
                f"max_stretch is {max_stretch:g}: up to {BONDED:g} sums of covalent radii are "
                f"bonds; {BROKEN:g} is a broken bond, None watches none"
            )
        self.frame, self.interval, self.explain = Path(frame), interval, explain
        self.good: ase.Atoms = start.copy()
        self.good.info = {"step": 0, "time_ps": 0.0}
        self.step = 0
        if max_stretch is None:
            bonds = np.zeros((0, 2), dtype=np.int64)
        elif bonds is None:
            bonds = find_bonds(start)
        self.lengths = np.linalg.norm(bond_vectors(start, bonds), axis=1)
        self.bonds = bonds
        self.limits = (max_stretch or 0.0) * radii_sums(start, bonds)

    def describeNextReport(self, simulation: app.Simulation) -> NextReport:  # noqa: N802
        """Return when the next report is due and what it needs."""
        steps = self.interval - simulation.currentStep % self.interval
        return {"steps": steps, "periodic": False, "include": ["positions", "forces", "energy"]}

    def report(self, simulation: app.Simulation | None, state: State) -> None:
        """Check a State that holds positions, forces and the energy, and remember its structure."""
        now = self._structure(state)
        step = state.getStepCount()
        found = (
            self._not_finite(now.positions, "position")
            or self._explained(state.getPotentialEnergy()._value, now)
            or self._not_finite(state.getForces(asNumpy=True)._value, "force")
            or self._energy(state.getPotentialEnergy()._value, now)
            or self._stretched(now)
        )
        if found:
            raise self._stop(step, *found)
        self.good, self.step = now, step

    @contextmanager
    def watching(self, context: Context) -> Iterator[None]:
        """Have OpenMM's exceptions in a block of steps stop the run in the same way."""
        try:
            yield
        except OpenMMException as error:
            reason = str(error).strip().splitlines()[-1]
            positions = _positions(context)
            step = max(context.getStepCount(), self.step + 1)
            if positions is None:
                raise self._stop(step, [], f"{reason}, at an unknown atom") from error
            found = self._not_finite(positions, "position")
            atoms = found[0] if found else [self._fastest(positions)]
            raise self._stop(step, atoms, f"{reason}, first of all at atom {atoms[0]}") from error

    def _structure(self, state: State) -> ase.Atoms:
        now: ase.Atoms = self.good.copy()
        now.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        if now.pbc.all():
            now.cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
        now.info = {
            "step": state.getStepCount(),
            "time_ps": state.getTime().value_in_unit(unit.picosecond),
        }
        return now

    def _not_finite(self, vectors: NDArray[np.float64], what: str) -> tuple[list[int], str] | None:
        bad = np.flatnonzero(~np.isfinite(vectors).all(1)).tolist()
        return (bad, f"the {what} of atom {bad[0]} is not a number") if bad else None

    def _explained(self, energy: float, now: ase.Atoms) -> tuple[list[int], str] | None:
        if np.isfinite(energy) or self.explain is None:
            return None
        reason = self.explain(now)
        return ([], f"the energy is not a number: {reason}") if reason else None

    def _energy(self, energy: float, now: ase.Atoms) -> tuple[list[int], str] | None:
        if np.isfinite(energy):
            return None
        atom = self._fastest(now.positions)
        return [atom], f"the energy is not a number, and atom {atom} has moved farthest"

    def _stretched(self, now: ase.Atoms) -> tuple[list[int], str] | None:
        if not len(self.bonds):
            return None
        lengths = np.linalg.norm(bond_vectors(now, self.bonds), axis=1)
        worst = int((lengths / self.limits).argmax())
        if lengths[worst] <= self.limits[worst]:
            return None
        atoms: list[int] = self.bonds[worst].tolist()
        names = "-".join(now.symbols[atoms])
        return atoms, (
            f"the {names} bond of atoms {atoms[0]} and {atoms[1]} is {lengths[worst]:.3g} angstrom "
            f"long, {self.lengths[worst]:.3g} at the start: if it may break, allow that "
            "(max_stretch)"
        )

    def _fastest(self, positions: NDArray[np.float64]) -> int:
        return int(np.linalg.norm(positions - self.good.positions, axis=1).argmax())

    def _stop(self, step: int, atoms: list[int], reason: str) -> UnstableError:
        with replacing(self.frame) as temporary:
            ase.io.write(temporary, self.good, format="extxyz")
        return UnstableError(step, atoms, reason, self.frame, self.step)


def _positions(context: Context) -> NDArray[np.float64] | None:
    try:
        state = context.getState(positions=True)
    except OpenMMException:
        return None
    positions: NDArray[np.float64] = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    return positions
