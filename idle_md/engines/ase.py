"""Deployed models as ASE calculators."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import torch
from ase.calculators import calculator

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.native import Kernels
from idle_md.engines.live import live_calculator

SPREAD = ("energy_std", "forces_std")
"""Properties of a committee."""


class Calculator(calculator.Calculator):
    """ASE calculator of a deployed model: energy in eV, forces in eV/angstrom.

    A committee's are its members' means; ``results`` also holds their sample standard deviations
    ``energy_std`` in eV and ``forces_std`` (N, 3) in eV/angstrom.

    Parameters
    ----------
    model
        A deployed model, or the path of one.
    low_level
        ASE calculator of the low level that an explicit difference is added to; by default that of
        tblite for the fidelities ``gfn1`` and ``gfn2``.
    device, dtype, kernels
        Where, in which precision and on what to run a model that is given as a path, see
        :func:`idle_md.deploy.load`.

    Raises
    ------
    ModuleNotFoundError
        If the model is an explicit difference and the program of its low level is not installed.
    ValueError
        On calculation, if the model does not know an element; names elements and atoms. When
        asked for the property ``energy_std`` or ``forces_std`` of a model that is no committee.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(
        self,
        model: DeployedModel | str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        low_level: Any = None,
        kernels: Kernels = "auto",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(model, DeployedModel):
            model = load(model, device, dtype, kernels)
        self.model = model
        self.low_level = low_level
        if self.model.metadata.delta_on is not None and low_level is None:
            self.low_level = live_calculator(self.model.metadata.delta_on)
        if self.model.metadata.members > 1:
            self.implemented_properties = [*self.implemented_properties, *SPREAD]

    def get_property(
        self, name: str, atoms: ase.Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a result by name, calculated if need be."""
        if name in SPREAD:
            self.model.check_committee()
        return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(calculator.all_changes),
    ) -> None:
        """Calculate energy and forces together, and the spread of a committee."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        structure: Any = self.atoms
        self.model.check_elements(structure.numbers)
        system = structure.numbers, structure.positions, structure.cell.array, structure.pbc
        if self.model.metadata.members == 1:
            energy, forces = self.model.evaluate(*system)
            self.results = {"energy": energy, "forces": forces}
        else:  # costs hardly more than the mean
            energies, every = self.model.evaluate_members(*system)
            self.results = {"energy": float(energies.mean()), "forces": every.mean(0)}
            self.results["energy_std"] = float(energies.std(ddof=1))
            self.results["forces_std"] = every.std(0, ddof=1)
        if self.low_level is not None:
            self.results["energy"] += self.low_level.get_potential_energy(structure)
            self.results["forces"] = self.results["forces"] + self.low_level.get_forces(structure)
        self.results["free_energy"] = self.results["energy"]
