"""What a model file says of itself."""

from typing import Any, Final, Literal

import torch
from pydantic import Field

from idle_md.configuration import Section
from idle_md.fidelity import LevelOfTheory

FORMAT_VERSION: Final = 1

Dtype = Literal["float32", "float64"]


class Metadata(Section):
    """Metadata of a deployed model, the content of its ``idle_md.json``."""

    format_version: Literal[1] = FORMAT_VERSION
    """Version of the file format."""
    fidelity: str
    """Name of the fidelity whose head was kept."""
    members: int = 1
    """Number of models in the file; from two on it is a committee, which gives their mean."""
    level_of_theory: LevelOfTheory | None = None
    """What that fidelity's labels were calculated with, where known."""
    elements: list[int]
    """Atomic numbers that the model knows."""
    cutoff_angstrom: float
    """Longest edge that contributes."""
    interactions: int
    """Message-passing steps, each as far as the cutoff; 1 is strictly local."""
    receptive_field_angstrom: float
    """Farthest atom that an atomic energy depends on, ``interactions`` times the cutoff."""
    dtype: Dtype
    """Precision of the stored weights."""
    units: dict[str, str] = Field(default={"energy": "eV", "length": "angstrom"})
    """Units of the core's inputs and outputs."""
    reference_energies_ev: dict[int, float]
    """Energy per atomic number that the atomic energies include."""
    backbone: dict[str, Any]
    """Name and settings of the backbone."""
    head_widths: list[int]
    """Inputs, hidden units, if any, and outputs of the head."""
    delta_on: str | None = None
    """Fidelity whose live energies and forces must be added: the model is a difference."""
    closed_form: bool = False
    """Whether it is a closed form itself, the change of a network's energy with its parameters,
    which runs in double precision alone."""
    label_counts: dict[str, dict[str, dict[str, int]]] = Field(default={})
    """Labels used, by fidelity, split and kind."""
    charges: dict[int, int] | None = None
    """Geometries with labels of this fidelity that were trained on, by total charge in e; None
    where not known."""
    multiplicities: dict[int, int] | None = None
    """The same by the lowest multiplicity that the number of electrons allows, without lone
    atoms."""
    test_errors: dict[str, dict[str, float | None]] = Field(default={})
    """Errors of this fidelity on held-out geometries, by split; names that begin with `baseline_`
    are those of the trivial baseline."""
    versions: dict[str, str]
    """Versions of idle_md and torch that wrote the file."""
    content_sha256: str | None = None
    """Hash of all other records of the file; None in the copy inside the module."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """Precision of the stored weights."""
        return torch.float32 if self.dtype == "float32" else torch.float64
