"""Files from which molecular dynamics goes on: OpenMM's State as XML."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import ase
import numpy as np
from openmm import (
    Context,
    MonteCarloBarostat,
    OpenMMException,
    State,
    XmlSerializer,
    unit,
)

from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.trajectory import Written, part_of
from idle_md.files import replacing

NOTE = re.compile(r"<!-- idle_md (.*) -->\s*$")
"""At the end of the file, where OpenMM ignores it."""


@dataclass(frozen=True)
class Saved:
    """A State read back.

    Attributes
    ----------
    path
        Where it was.
    state
        Positions, velocities, box, time, step and parameters.
    formula
        Of the structure; None where the file does not come from here.
    trajectory, written
        Name of the trajectory of that run, and how far it had got.
    """

    path: Path
    state: State
    formula: str | None = None
    trajectory: str | None = None
    written: Written | None = None

    def check(self, atoms: ase.Atoms) -> None:
        """Check that this is a state of a structure; another one is a ValueError."""
        count = len(self.state.getPositions())
        if count != len(atoms):
            raise ValueError(
                f"{self.path} holds {count} particles, the structure {len(atoms)}: restart with "
                "the structure that the run began with"
            )
        formula = atoms.get_chemical_formula()
        if self.formula not in (None, formula):
            raise ValueError(
                f"{self.path} is of {self.formula}, the structure of {formula}: restart with the "
                "structure that the run began with"
            )

    def of(self, trajectory: Path) -> Written | None:
        """Return how far a trajectory had got; None if this knows nothing of it."""
        return self.written if self.trajectory == trajectory.name else None

    def placed(self, atoms: ase.Atoms) -> ase.Atoms:
        """Return a structure with the positions and the cell of this state."""
        placed: ase.Atoms = atoms.copy()
        placed.positions = self.state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        if placed.pbc.all():
            box = self.state.getPeriodicBoxVectors(asNumpy=True)
            placed.cell = box.value_in_unit(unit.angstrom)
        return placed

    def restore(self, context: Context) -> None:
        """Put a Context where this was; temperature and pressure stay those of the Context."""
        own = (MonteCarloBarostat.Pressure(), MonteCarloBarostat.Temperature())
        known = context.getParameters()
        context.setPeriodicBoxVectors(*self.state.getPeriodicBoxVectors())
        context.setPositions(self.state.getPositions(asNumpy=True))
        context.setVelocities(self.state.getVelocities(asNumpy=True))
        context.setTime(self.state.getTime())
        context.setStepCount(self.state.getStepCount())
        for name, value in self.state.getParameters().items():
            if name in known and name not in own:
                context.setParameter(name, value)


@dataclass
class Checkpoint:
    """Writes the State of a run now and then.

    Attributes
    ----------
    path
        File; it is replaced as a whole, so an interrupted run leaves the last one that is complete.
    interval
        Steps between two of them.
    formula
        Of the structure.
    trajectory
        That of the run, which a restart goes on with.
    """

    path: Path
    interval: int
    formula: str
    trajectory: Path | None = None

    def write(self, context: Context, frames: int) -> None:
        """Write the State; ``frames`` is how many the trajectory holds."""
        state = context.getState(positions=True, velocities=True, parameters=True)
        note: dict[str, str | int] = {"formula": self.formula}
        if self.trajectory is not None:
            size = part_of(self.trajectory).stat().st_size
            note |= {"trajectory": self.trajectory.name, "size": size, "frames": frames}
        with replacing(self.path) as temporary:
            xml = XmlSerializer.serialize(state)
            text = json.dumps(note).replace("--", "-\\u002d")  # no "--" inside a comment
            temporary.write_text(f"{xml.rstrip()}\n<!-- idle_md {text} -->\n")


def make_checkpoint(settings: MDSettings, atoms: ase.Atoms) -> Checkpoint | None:
    """Return what writes a run's restart files, None where none are wanted.

    Raises
    ------
    ValueError
        If they would not come with frames.
    """
    if settings.checkpoint is None:
        return None
    interval = settings.checkpoint_interval or settings.interval
    if interval % settings.interval:
        raise ValueError(
            f"checkpoint_interval {interval} is no multiple of interval {settings.interval}: "
            "checkpoints are written with the frames"
        )
    formula = atoms.get_chemical_formula()
    return Checkpoint(settings.checkpoint, interval, formula, settings.trajectory)


def read_checkpoint(path: str | Path) -> Saved:
    """Read a State with positions and velocities that OpenMM wrote as XML.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or something else; names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no restart file at {path}")
    try:
        text = path.read_text()
        ElementTree.fromstring(text)  # OpenMM takes some files that end too early
        state = XmlSerializer.deserialize(text)
        finite = all(
            np.isfinite(values._value).all()
            for values in (state.getPositions(asNumpy=True), state.getVelocities(asNumpy=True))
        )
        match = NOTE.search(text)
        note = json.loads(match[1]) if match else {}
    except (OpenMMException, ElementTree.ParseError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as a restart file, it is damaged or something else ({error}): "
            "take an earlier one, or start from a structure"
        ) from error
    if not finite:
        raise ValueError(f"{path} holds values that are not numbers: take an earlier restart file")
    written = Written(note["size"], note["frames"]) if "size" in note else None
    return Saved(path, state, note.get("formula"), note.get("trajectory"), written)
