"""Deployed models as ASE calculators."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import torch
from ase.calculators import calculator

from idle_md.deploy import DeployedModel, load


class Calculator(calculator.Calculator):
    """ASE calculator of a deployed model: energy in eV, forces in eV/angstrom.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    device, dtype
        Where and in which precision to run a model that is given as a path, see
        :func:`idle_md.deploy.load`.

    Raises
    ------
    ValueError
        On calculation, if the model does not know an element; names elements and atoms.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(
        self,
        model: DeployedModel | str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model if isinstance(model, DeployedModel) else load(model, device, dtype)

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(calculator.all_changes),
    ) -> None:
        """Calculate energy and forces together."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        structure: Any = self.atoms
        self.model.check_elements(structure.numbers)
        energy, forces = self.model.evaluate(
            structure.numbers, structure.positions, structure.cell.array, structure.pbc
        )
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
