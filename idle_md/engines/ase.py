"""Deployed models as ASE calculators."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators import calculator
from ase.calculators.calculator import PropertyNotImplementedError
from torch import Tensor

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.failures import ZERO_LENGTH, too_close, why_no_numbers
from idle_md.deploy.gate import check_use
from idle_md.deploy.kernels import Kernels
from idle_md.deploy.replay import Replayed
from idle_md.edge_contract import edge_virial, edge_virials
from idle_md.engines.edges.kept import neighbors_for
from idle_md.engines.edges.room import with_room
from idle_md.engines.engine import Evaluate, Runnable, why_not_on
from idle_md.engines.results import LeftOut, Prediction, stress_of
from idle_md.label.calculator import live_calculator
from idle_md.states import state_of

SPREAD = ("energy_std", "forces_std")
"""Properties of a committee."""


class Calculator(calculator.Calculator):
    """ASE calculator of a deployed model.

    ``energy`` and ``energies`` of the atoms (N,) in eV, ``forces`` (N, 3) in eV/angstrom and, of
    structures that are periodic in all three directions, ``stress`` (6,) in eV/angstrom^3 and the
    parts of it that belong to the atoms, ``stresses`` (N, 6), which are one partition of many. A
    committee's are its members' means; ``spread`` holds their sample standard deviations
    ``energy_std`` in eV and ``forces_std`` (N, 3) in eV/angstrom, which ``get_property`` gives too.

    Neighbours are searched anew when an atom has moved by 0.25 angstrom, or when the number of
    atoms, the cell or its periodicity changes.

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
    relative
        Give energies relative to lone atoms, see :func:`idle_md.deploy.load`.

    Warns
    -----
    StateWarning
        On calculation, if a structure has a charge or a spin that the model was not trained on, as
        far as is known: by ``info`` (``charge``, ``multiplicity`` and the like), or by initial
        charges and magnetic moments.

    Raises
    ------
    ModuleNotFoundError
        If the model is an explicit difference and the program of its low level is not installed.
    ValueError
        On calculation, if the model does not know an element; names elements and atoms; if the
        energy or a force is not a number; names atoms that are in one place; or if a neighbour list
        on a GPU cannot be made (where it has no room, it gets more). When asked for the property
        ``energy_std`` or ``forces_std`` of a model that is no committee.
    PropertyNotImplementedError
        When asked for the stress of a structure that is not periodic in all directions, or for the
        energies of atoms where a low level is added.

    Examples
    --------
    >>> import ase.build, idle_md
    >>> atoms = ase.build.molecule("CH3CH2OH")
    >>> atoms.calc = idle_md.Calculator("model.pt")
    >>> energy = atoms.get_potential_energy()  # eV
    >>> atoms.get_forces().shape  # eV/angstrom
    (9, 3)
    """

    implemented_properties = [  # noqa: RUF012
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "stresses",
    ]

    def __init__(
        self,
        model: DeployedModel | str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        low_level: Any = None,
        kernels: Kernels = "auto",
        relative: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = load(model, device, dtype, kernels, relative)
        self.spread: dict[str, Any] = {}
        self._asked: tuple[Any, ...] = ()
        self.low_level = low_level
        if self.model.metadata.delta_on is not None and low_level is None:
            self.low_level = live_calculator(self.model.metadata.delta_on)
        self._begin()

    def _begin(self) -> None:
        """Begin without neighbours, which no two calculators share."""
        self.neighbors: Any = neighbors_for(self.model)
        self._step: Callable[..., tuple[Tensor, ...]] = self._tensors
        if self.model.can_be_replayed:
            self._step = Replayed(self._tensors, self.model.device)

    def __getstate__(self) -> dict[str, Any]:
        return {k: each for k, each in vars(self).items() if k not in ("neighbors", "_step")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def get_property(
        self, name: str, atoms: ase.Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a result by name, calculated if need be."""
        structure = self.atoms if atoms is None else atoms
        if name in SPREAD:
            self.model.check_committee()
            known = self.get_property("energy", atoms, allow_calculation)
            return None if known is None else np.copy(self.spread[name])[()]
        if name in ("energies", "stresses") and self.low_level is not None:
            raise PropertyNotImplementedError(
                f"the {name} of single atoms are not known where a low level is added to the model"
            )
        if name in ("stress", "stresses") and structure is not None and not structure.pbc.all():
            raise PropertyNotImplementedError(
                "stress is for structures that are periodic in all three directions, and pbc is "
                f"{structure.pbc.tolist()}: make it periodic in all of them, with a vacuum longer "
                f"than the cutoff of {self.model.metadata.cutoff_angstrom:g} angstrom in those "
                "that are open, which changes neither energy nor forces"
            )
        return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(calculator.all_changes),
    ) -> None:
        """Calculate all properties together.

        Stresses of atoms, and the stress of a low level, only if they are asked for.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        structure: Any = self.atoms
        self._check_use(structure)
        self.results = self._model_results(structure)
        if "stresses" in properties and self.low_level is None and structure.pbc.all():
            self.results["stresses"] = self._stresses(structure)
        if self.low_level is not None:
            self._add_low_level(structure, "stress" in properties)
        self.results["free_energy"] = self.results["energy"]

    def _check_use(self, structure: ase.Atoms) -> None:
        """Check what is asked for, once."""
        asked = structure.numbers.tobytes(), structure.pbc.tolist(), state_of(structure)
        if asked != self._asked:
            whole = not structure.pbc.any()
            check_use(self.model.metadata, structure.numbers, state=asked[2], is_whole=whole)
            self._asked = asked

    def _model_results(self, structure: ase.Atoms) -> dict[str, Any]:
        numbers = torch.as_tensor(structure.numbers, dtype=torch.int64, device=self.model.device)
        searches = self._searches()
        inputs = self.neighbors.inputs(structure)

        def evaluate() -> tuple[Any, ...]:
            found = self._step(numbers, bool(structure.pbc.all()), *inputs)
            return tuple(each.cpu().numpy() for each in found)

        totals, energies, forces, *virial = self._numbers(evaluate, structure)
        is_new = self._searches() != searches
        reason = too_close(structure) if is_new else ""  # kernels give numbers almost down to zero
        if reason:
            self._begin()  # or the next call would take these neighbours for checked ones
            raise ValueError(reason)
        results = {"energy": float(totals.mean()), "energies": energies, "forces": forces.mean(0)}
        if virial:
            results["stress"] = stress_of(virial[0], structure)
        if len(totals) > 1:  # costs hardly more than the mean
            spread = float(totals.std(ddof=1)), forces.std(0, ddof=1)
            self.spread = dict(zip(SPREAD, spread, strict=True))
        return results

    def _searches(self) -> int:
        """Return how often neighbours were searched; not on a GPU, which would be waited for."""
        return 0 if isinstance(self._step, Replayed) else self.neighbors.searches

    def _numbers(
        self, evaluate: Callable[[], tuple[Any, ...]], structure: ase.Atoms
    ) -> tuple[Any, ...]:
        """Return what an evaluation gives, if that is numbers."""
        try:
            found = self._evaluated(evaluate)
        except RuntimeError as error:
            if ZERO_LENGTH not in str(error):
                raise
            raise ValueError(why_no_numbers(structure)) from None
        if not _are_numbers(found):
            raise ValueError(why_no_numbers(structure))
        return found

    def _evaluated(self, evaluate: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        if isinstance(self._step, Replayed):
            return with_room(evaluate, _are_numbers, self.neighbors.problem, self._make_room)
        return evaluate()

    @torch.no_grad()
    def _stresses(self, structure: ase.Atoms) -> Any:
        """Return the stresses (N, 6) of atoms: either end of an edge has half of its part."""
        system = structure.positions, structure.cell.array, structure.pbc
        species, edge_index, vectors = self.model.inputs(structure.numbers, *system)
        _, gradients = self.model.core(species, edge_index, vectors, len(species))
        centres, neighbors = (
            edge_virials(gradients, vectors, end, len(species)) for end in edge_index
        )
        return stress_of((0.5 * (centres + neighbors)).cpu().numpy(), structure)

    def _make_room(self) -> None:
        self.neighbors.make_room()
        assert isinstance(self._step, Replayed)
        self._step.forget()

    @torch.no_grad()
    def _tensors(self, numbers: Tensor, with_virial: bool, *inputs: Any) -> tuple[Tensor, ...]:
        """Return totals (M,), mean energies (N,), forces (M, N, 3) and, if wanted, the virial."""
        edge_index, vectors = self.neighbors.edges(*inputs)
        energies, gradients = self._every_member(numbers, edge_index, vectors)
        forces = torch.stack([self.model.forces(g, edge_index, len(numbers)) for g in gradients])
        found = energies.sum(0), energies.mean(1), forces
        if not with_virial:
            return found
        return *found, torch.stack([edge_virial(g, vectors) for g in gradients]).mean(0)

    def _every_member(
        self, numbers: Tensor, edge_index: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return atomic energies (N, M) and edge gradients (M, E, 3)."""
        core, inputs = self.model.core, (numbers, edge_index, vectors, len(numbers))
        if self.model.metadata.members > 1:
            energies, gradients = core.members(*inputs)
            return energies, gradients
        energies, gradients = core(*inputs)
        return energies[:, None], gradients[None]

    def _add_low_level(self, structure: ase.Atoms, with_stress: bool) -> None:
        low, results = self.low_level, self.results
        del results["energies"]
        results["energy"] += low.get_potential_energy(structure)
        results["forces"] = results["forces"] + low.get_forces(structure)
        stress = results.pop("stress", None)
        if stress is not None and with_stress:
            results["stress"] = stress + low.get_stress(structure)


def _are_numbers(found: tuple[Any, ...]) -> bool:
    totals, _, forces, *_ = found
    return bool(np.isfinite(totals).all() and np.isfinite(forces).all())


@dataclass(frozen=True)
class AseEngine:
    """The ASE calculator, see :class:`~idle_md.engines.engine.Engine`.

    Attributes
    ----------
    kernels
        What the model runs on.
    device
        Where it runs.
    """

    kernels: Runnable
    device: str = "cpu"

    @property
    def name(self) -> str:
        """ASE, and the kernels."""
        return f"ASE, {self.kernels}"

    def why_not(self, model: DeployedModel | None = None) -> str | None:
        """Return why there are no such kernels for the model here."""
        return why_not_on(self.kernels, model)

    def evaluator(self, path: DeployedModel | str | Path) -> Evaluate:
        """Return what evaluates structures of any periodicity, one after the other."""
        calculator = Calculator(load(path, self.device, kernels=self.kernels))

        def evaluate(structures: Sequence[ase.Atoms]) -> list[Prediction | LeftOut]:
            results: list[Prediction | LeftOut] = []
            for atoms in structures:
                calculator.calculate(atoms)
                found = calculator.results
                known = {name: found.get(name) for name in ("energies", "stress")}
                results.append(Prediction(found["energy"], found["forces"], **known))
            return results

        return evaluate
