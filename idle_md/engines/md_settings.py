"""Everything that sets a run of molecular dynamics, in every engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from idle_md.configuration import Count, Positive, Section
from idle_md.engines.choices import Backend, EngineName, Ensemble, Mode, Precision
from idle_md.native.choice import Kernels
from idle_md.states import State, state_of

if TYPE_CHECKING:
    import ase

NonNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Group:
    """Settings that belong together.

    Attributes
    ----------
    title
        What they are about; None for the most usual.
    engine
        The one that alone serves them; None where all do.
    """

    title: str | None = None
    engine: EngineName | None = None


GENERAL = Group()
STATE = Group("State and timestep")
OUTPUT = Group("Start and output")
HARDWARE = Group("How the model is run")
RESTART = Group("Restart files")
FORCE_FIELD = Group("Model within a force field", "openmm")
OPENMM = Group("OpenMM alone", "openmm")
LAMMPS = Group("LAMMPS alone", "lammps")


class MDSettings(Section):
    """Settings of a run, in Python, in a file, and as options of ``idle-md md``.

    >>> MDSettings(ensemble="npt", steps=100_000, trajectory="water.dcd")

    Raises
    ------
    ValueError
        If a name is unknown, a value cannot be, two settings contradict each other, or the engine
        does not serve one that is given.
    """

    engine: Annotated[EngineName, HARDWARE] = Field(default="openmm", description="Engine.")
    ensemble: Ensemble = Field(default="nvt", description="NVE, NVT (Langevin) or NPT.")
    temperature_K: NonNegative = Field(  # noqa: N815
        default=300.0, description="Temperature of first velocities and thermostat in K."
    )
    pressure_bar: Annotated[float, STATE] = Field(
        default=1.0, description="Pressure in bar, for npt."
    )
    friction_per_ps: Annotated[NonNegative, STATE] = Field(
        default=1.0, description="Langevin friction in 1/ps."
    )
    timestep_fs: Annotated[Positive, STATE] = Field(default=0.5, description="Timestep in fs.")
    steps: Count = Field(default=10_000, description="Number of steps to do.")
    interval: Annotated[Count, OUTPUT] = Field(
        default=100, description="Steps between reports and frames."
    )
    charge: Annotated[float | None, STATE] = Field(
        default=None,
        description="Total charge in e of what the model describes, compared with what it was "
        "trained on; what the structure or the force field says by default.",
    )
    minimize: Annotated[bool, OUTPUT] = Field(default=False, description="Relax the start first.")
    trajectory: Path | None = Field(
        default=None,
        description="File to write: .xyz, .dcd, .xtc, OpenMM's .pdb, LAMMPS' .lammpstrj; what "
        "repeats the run goes to NAME.run.yaml beside it.",
    )
    checkpoint: Annotated[Path | None, RESTART] = Field(
        default=None, description="Restart file to write, the engine's own."
    )
    checkpoint_interval: Annotated[Count | None, RESTART] = Field(
        default=None, description="Steps between them, the interval of the frames by default."
    )
    restart: Annotated[Path | None, RESTART] = Field(
        default=None,
        description="Restart file to go on from, for so many steps more, with the settings given "
        "now; appends to its trajectory.",
    )
    mm: Annotated[list[str], FORCE_FIELD] = Field(
        default=[],
        description="Force field file for what the model does not describe, such as "
        "amber14-all.xml; can be repeated. Name the model's part by the settings below.",
    )
    ml_residues: Annotated[list[str], FORCE_FIELD] = Field(
        default=[], description='Names of residues that the model describes, "LIG,ACE".'
    )
    ml_chain: Annotated[list[str], FORCE_FIELD] = Field(
        default=[], description='Chains that the model describes, "A".'
    )
    ml_atoms: Annotated[list[int], FORCE_FIELD] = Field(
        default=[], description='Indices from 0 of atoms that the model describes, "0-21,30".'
    )
    hydrogen_mass: Annotated[Positive | None, OPENMM] = Field(
        default=None,
        description="Mass of hydrogen in amu, taken from the atoms it is bonded to.",
    )
    max_stretch: Annotated[NonNegative, OPENMM] = Field(
        default=2.0,
        description="Stop where a bond is longer than this many sums of covalent radii; 0 never "
        "does, and allows reactions.",
    )
    max_spread: Annotated[NonNegative | None, OPENMM] = Field(
        default=None, description="Stop where a committee's forces spread by more than this, eV/Å."
    )
    spread_file: Annotated[Path | None, OPENMM] = Field(
        default=None,
        description="CSV file for a committee's spread; spread.csv with a largest spread.",
    )
    backend: Annotated[Backend, OPENMM] = Field(
        default="auto", description="How OpenMM calls the model."
    )
    kernels: Annotated[Kernels, HARDWARE] = Field(
        default="auto", description="Native operators (idle-md build-plugins) or the model's graph."
    )
    device: Annotated[str, HARDWARE] = Field(
        default="cpu", description="Where the model runs: cpu, cuda, or cuda:1 of several GPUs."
    )
    platform: Annotated[str | None, OPENMM] = Field(
        default=None,
        description="OpenMM platform; Reference by default for a model on the CPU that is the only "
        "force, else OpenMM's choice.",
    )
    ranks: Annotated[Count, LAMMPS] = Field(default=1, description="MPI ranks.")
    mode: Annotated[Mode | None, LAMMPS] = Field(
        default=None, description="What ghost atoms are; the best by default."
    )
    precision: Annotated[Precision | None, LAMMPS] = Field(
        default=None, description="Precision of the model; that of its file by default."
    )
    threads: Annotated[Count | None, HARDWARE] = Field(
        default=None,
        description="Threads of torch; by default one in LAMMPS or a small system.",
    )
    seed: Annotated[int, STATE] = Field(
        default=0, description="Seed of velocities, thermostat and barostat."
    )

    @field_validator("mm", mode="before")
    @classmethod
    def _files(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("ml_residues", "ml_chain", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return _words(value)

    @field_validator("ml_atoms", mode="before")
    @classmethod
    def _indices(cls, value: Any) -> Any:
        words = _words(value)
        return [k for each in words for k in _range(each)] if isinstance(words, list) else words

    @model_validator(mode="after")
    def _fit_together(self) -> "MDSettings":
        served = self.served()
        for name in sorted(self.model_fields_set & set(MDSettings.model_fields)):
            if name not in served:
                other = self.group(name).engine
                raise PydanticCustomError(
                    "engine", f"{name} is for engine {other}, not {self.engine}: leave one out"
                )
        if self.restart is not None and self.minimize:
            raise PydanticCustomError(
                "restart", "a restart goes on from where it was: leave minimize out"
            )
        if not self.mm and (self.ml_residues or self.ml_chain or self.ml_atoms):
            raise PydanticCustomError(
                "mm", "a part for the model needs a force field for the rest: give mm"
            )
        return self

    def state_of(self, structure: "ase.Atoms") -> State:
        """Return charge and multiplicity of a structure that the model describes as a whole."""
        state = state_of(structure)
        return state if self.charge is None else state._replace(charge=self.charge)

    @staticmethod
    def group(name: str) -> Group:
        """Return the group of a setting."""
        metadata = MDSettings.model_fields[name].metadata
        return next((each for each in metadata if isinstance(each, Group)), GENERAL)

    def served(self) -> list[str]:
        """Return the names of the settings that the engine serves."""
        names = MDSettings.model_fields
        return [name for name in names if self.group(name).engine in (None, self.engine)]


def _words(value: Any) -> Any:
    """Return the parts of ``"a,b"``, or of several such texts."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        return value
    return [word.strip() for text in texts for word in str(text).split(",") if word.strip()]


def _range(word: str) -> range:
    """Return the numbers of ``"0-3"`` or ``"7"``."""
    first, _, last = word.partition("-")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise PydanticCustomError("indices", f"{word!r}: indices are like 0-21,30") from error


DEFAULTS = MDSettings()
