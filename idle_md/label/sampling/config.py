"""What to sample."""

from typing import Annotated

from pydantic import Field, model_validator

from idle_md.configuration import Count, Positive, Section, Weight

METHODS = ("md", "modes", "torsions", "stretches")


class SampleConfig(Section):
    """How geometries of a molecule are made."""

    frames: Count = 100
    """Geometries of each molecule."""
    mix: dict[str, Weight] = Field(default={"md": 0.5, "modes": 0.4, "torsions": 0.1})
    """Share of molecular dynamics, normal modes, torsion scans and stretched bonds; what a
    molecule has no such bonds for goes to the others."""
    dimers: Annotated[int, Field(ge=0)] = 0
    """Pairs with a molecule of the list, for each molecule."""
    transfers: Annotated[int, Field(ge=0)] = 0
    """Of such pairs with a proton between the two, where one can give it and one take it."""
    clusters: Annotated[int, Field(ge=0)] = 0
    """Clusters of each molecule with water."""
    waters: Count = 3
    """In a cluster, at most; there are as many clusters of every number."""
    temperatures: list[Positive] = Field(default=[300.0, 600.0, 1000.0])
    """Of dynamics and normal modes, in kelvin."""
    conformers: Count = 4
    """To start from, at most."""
    level: str = "gfn2"
    """Level of theory of dynamics, normal modes and relaxation."""
    timestep_fs: Positive = 1.0
    interval_fs: Positive = 20.0
    """Of molecular dynamics, between two geometries."""
    tolerance: Annotated[float, Field(ge=0)] = 0.02
    """Geometries are the same if the root mean square of the differences of their sorted
    interatomic distances is below this, in angstrom."""
    role: str = ""
    """Of all geometries: train, validation, test, ood or none."""
    test: Annotated[int, Field(ge=0)] = 0
    """How many geometries of each molecule get the role ``test``."""
    seed: int = 0

    @model_validator(mode="after")
    def _something_to_do(self) -> "SampleConfig":
        strange = sorted({*self.mix} - {*METHODS})
        if strange or sum(self.mix.values()) <= 0:
            found = f"{strange[0]!r} is unknown; " if strange else ""
            raise ValueError(f"mix: {found}give one of {', '.join(METHODS)} a share above 0")
        if self.test and self.test >= self.frames:
            raise ValueError("test: must be less than frames, or nothing is left to train on")
        return self
