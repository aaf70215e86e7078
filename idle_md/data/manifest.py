"""What a store says about itself."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from idle_md.configuration import Section, load_section
from idle_md.fidelity import LevelOfTheory


class Manifest(Section):
    """Name, origin and levels of theory of a data set."""

    name: str = ""
    """Short name of the set."""
    description: str = ""
    """What was sampled, and how."""
    licence: str = ""
    """Terms under which the set may be used."""
    levels: dict[str, LevelOfTheory] = Field(default_factory=dict)
    """Level of theory of every fidelity."""
    energy_unit: Literal["eV"] = "eV"
    """Energies are total energies in eV, forces in eV/angstrom, stresses in eV/angstrom^3."""
    length_unit: Literal["angstrom"] = "angstrom"
    """Positions and lattice vectors are in angstrom."""

    def covering(self, fidelities: Iterable[str]) -> "Manifest":
        """The manifest with exactly these fidelities; unknown levels take the fidelity's name."""
        levels = {name: self.levels.get(name, LevelOfTheory(method=name)) for name in fidelities}
        return self.model_copy(update={"levels": levels})


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest from a YAML or JSON file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is no YAML, or a key or value is wrong; the message names the place and, for a
        misspelt key, the nearest valid one.
    """
    return load_section(path, Manifest, "manifest")
