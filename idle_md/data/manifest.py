"""What a store says about itself."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from idle_md.fidelity import LevelOfTheory


class Manifest(BaseModel):
    """Name, origin and levels of theory of a data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    """Short name of the set."""
    description: str = ""
    """What was sampled, and how."""
    licence: str = ""
    """Terms under which the set may be used."""
    levels: dict[str, LevelOfTheory] = Field(default_factory=dict)
    """Level of theory of every fidelity."""
    energy_unit: Literal["eV"] = "eV"
    """Energies are total energies in eV, forces in eV/angstrom."""
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
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a YAML or JSON file: {error}") from error
    return parse_manifest(content, path)


def parse_manifest(content: object, path: str | Path) -> Manifest:
    """Check the content of a manifest that came from ``path``.

    Raises
    ------
    ValueError
        A key or value is wrong.
    """
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_problem(detail["loc"], detail["msg"]) for detail in error.errors())
        raise ValueError(f"{path}: {problems}") from error


def _problem(location: tuple[int | str, ...], message: str) -> str:
    place = ".".join(map(str, location)) or "the manifest"
    valid = LevelOfTheory.model_fields if "levels" in location[:1] else Manifest.model_fields
    nearest = get_close_matches(str(location[-1]), valid, n=1) if location else []
    if "Extra inputs" in message:
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"valid keys: {', '.join(valid)}"
        return f"unknown key {place!r}; {hint}"
    return f"{place}: {message}"
