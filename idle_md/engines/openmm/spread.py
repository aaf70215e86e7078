"""How far the members of a committee disagree during dynamics."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray
from openmm import State, app, unit

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.gate import check_elements
from idle_md.engines.openmm.particles import chosen_particles, is_periodic
from idle_md.files import replacing

COLUMNS = ("step", "time_ps", "energy_std_ev", "force_std_ev_per_angstrom", "atom")


class NextReport(TypedDict):
    """What OpenMM's Simulation wants to know of the next report."""

    steps: int
    periodic: bool
    include: list[str]


class SpreadError(ValueError):
    """The members of a committee disagree by more than the threshold.

    Attributes
    ----------
    step
        Step of the run.
    atom
        Index of the particle on whose force they disagree most.
    spread
        Their disagreement there in eV/angstrom.
    frame
        File with that structure.
    """

    def __init__(self, step: int, atom: int, spread: float, threshold: float, frame: Path) -> None:
        super().__init__(
            f"stopped at step {step}: the members' forces on atom {atom} spread by {spread:.3g} "
            f"eV/angstrom, the threshold is {threshold:g}; this structure is in {frame}: label it "
            "and train on it, or raise the threshold"
        )
        self.step, self.atom, self.spread, self.frame = step, atom, spread, frame


class SpreadReporter:
    """OpenMM reporter that writes the spread of a committee, and stops a run where it is large.

    The spread of the energy is the sample standard deviation over the members. That of the force
    on an atom is the length of the vector of its components' standard deviations; a row holds the
    largest. Each report evaluates the members once more.

    Parameters
    ----------
    file
        CSV file to write, a row per report: step, time in ps, spread of the energy in eV, largest
        spread of a force in eV/angstrom, and on which particle.
    interval
        Steps between reports.
    model
        The committee, or the path of one.
    topology_or_numbers, atoms, periodic
        As in :func:`~idle_md.engines.openmm.create_force`, whose model it watches.
    threshold
        Largest spread of a force in eV/angstrom that a run goes on with; None never stops.
    frame
        Where a run that is stopped leaves its last structure, as extended XYZ with the spread of
        every atom; by default beside ``file``, ending in ``.stopped.xyz``.
    after
        Step at which a restarted run goes on: the rows of ``file`` before it are kept.

    Raises
    ------
    ValueError
        If the model is no committee, does not know an element, or particles are not there.
    OSError
        If the file cannot be written.
    SpreadError
        From :meth:`report`, when the threshold is passed.
    """

    def __init__(
        self,
        file: str | Path,
        interval: int,
        model: DeployedModel | str | Path,
        topology_or_numbers: app.Topology | Sequence[int],
        *,
        atoms: Sequence[int] | None = None,
        periodic: bool | None = None,
        threshold: float | None = None,
        frame: str | Path | None = None,
        after: int | None = None,
    ) -> None:
        self.model = load(model)
        self.model.check_committee()
        self.numbers, self.atoms = chosen_particles(topology_or_numbers, atoms)
        check_elements(self.model.metadata, self.numbers, self.atoms)
        self.periodic = is_periodic(topology_or_numbers) if periodic is None else periodic
        self.file, self.interval, self.threshold = Path(file), interval, threshold
        self.frame = self.file.with_suffix(".stopped.xyz") if frame is None else Path(frame)
        kept = [] if after is None else _rows_before(self.file, after)
        with replacing(self.file) as temporary, temporary.open("w", newline="") as rows:
            csv.writer(rows).writerows([COLUMNS, *kept])

    def describeNextReport(self, simulation: app.Simulation) -> NextReport:  # noqa: N802
        """Return when the next report is due and what it needs."""
        steps = self.interval - simulation.currentStep % self.interval
        return {"steps": steps, "periodic": False, "include": ["positions"]}

    def report(self, simulation: app.Simulation | None, state: State) -> None:
        """Write a row for a State that holds positions, and stop the run if need be.

        Step and time are those of the State, so a run without a Simulation can call this too.
        """
        frame = self._structure(state)
        energies, forces = self.model.evaluate_members(
            frame.numbers, frame.positions, frame.cell.array, frame.pbc
        )
        spread: NDArray[np.float64] = np.linalg.norm(forces.std(0, ddof=1), axis=1)  # (n,)
        worst = int(spread.argmax())
        step, time = state.getStepCount(), state.getTime().value_in_unit(unit.picosecond)
        row = (step, time, float(energies.std(ddof=1)), float(spread[worst]), self.atoms[worst])
        with self.file.open("a", newline="") as file:
            csv.writer(file).writerow(row)
        if self.threshold is None or spread[worst] <= self.threshold:
            return
        frame.info |= {"step": step, "time_ps": time}
        frame.arrays["force_std"] = spread
        with replacing(self.frame) as temporary:
            ase.io.write(temporary, frame, format="extxyz")
        raise SpreadError(step, self.atoms[worst], row[3], self.threshold, self.frame)

    def _structure(self, state: State) -> ase.Atoms:
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)[self.atoms]
        cell: Any = None
        if self.periodic:
            cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
        return ase.Atoms(self.numbers, positions, cell=cell, pbc=self.periodic)


def _rows_before(path: Path, step: int) -> list[list[str]]:
    """Return the rows of a file of spreads before a step, none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [row for row in rows if len(row) == len(COLUMNS) and int(row[0]) < step]
