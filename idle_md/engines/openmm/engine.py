"""OpenMM as an engine: energies and forces, by each way that it can call a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
import openmm
from openmm import unit

from idle_md.deploy import DeployedModel, load
from idle_md.engines.choices import Backend
from idle_md.engines.engine import Evaluate
from idle_md.engines.lammps.input import place
from idle_md.engines.openmm import backends
from idle_md.engines.openmm.force import create_force
from idle_md.engines.results import LeftOut, Prediction
from idle_md.units import KJ_PER_MOL, NM

BACKENDS: tuple[Backend, ...] = ("torchforce", "pythontorchforce", "pythonforce")

MakeForce = Callable[[Sequence[int], bool], openmm.Force]
"""Takes the atomic numbers (N,) of all particles, and whether they are periodic."""


@dataclass(frozen=True)
class OpenMMEngine:
    """OpenMM on its Reference platform, see :class:`~idle_md.engines.engine.Engine`.

    A TorchForce of a model on a GPU runs on the platform CUDA.

    Attributes
    ----------
    backend
        How OpenMM calls the model, see :func:`~idle_md.engines.openmm.create_force`.
    device
        Where the model runs.
    """

    backend: Backend
    device: str = "cpu"

    @property
    def name(self) -> str:
        """OpenMM, and the backend."""
        return f"OpenMM, {self.backend}"

    def why_not(self, model: DeployedModel | None = None) -> str | None:
        """Return why the backend does not work here."""
        if self.backend not in backends.CLASSES:
            return None
        problem = backends.why_not(self.backend)
        if problem is not None:
            return f"{problem}; {backends.REMEDY}"
        return backends.why_no_torch_force() if self._is_on_gpu else None

    @property
    def _is_on_gpu(self) -> bool:
        """Whether OpenMM's platform has to be where the model is."""
        return self.backend == "torchforce" and self.device != "cpu"

    def evaluator(self, path: str | Path) -> Evaluate:
        """Return what evaluates structures that are periodic in all directions, or in none."""
        model = load(path, self.device)

        def make_force(numbers: Sequence[int], periodic: bool) -> openmm.Force:
            return create_force(model, numbers, backend=self.backend, periodic=periodic)

        return SinglePoints(make_force, backends.CUDA if self._is_on_gpu else "Reference")


class SinglePoints:
    """Energies and forces of structures in OpenMM, by a Context for each set of atoms.

    Parameters
    ----------
    make_force
        What is evaluated, for each set of atoms.
    platform
        Name of the OpenMM platform.
    """

    def __init__(self, make_force: MakeForce, platform: str = "Reference") -> None:
        self.make_force = make_force
        self.platform = openmm.Platform.getPlatformByName(platform)
        self.properties = {"Precision": "double"} if platform == backends.CUDA else {}
        self._contexts: dict[tuple[tuple[int, ...], bool], openmm.Context] = {}

    def __call__(self, structures: Sequence[ase.Atoms]) -> list[Prediction | LeftOut]:
        """Return energies and forces; OpenMM has no stress."""
        return [self._evaluate(atoms) for atoms in structures]

    def _evaluate(self, atoms: ase.Atoms) -> Prediction | LeftOut:
        periodic = bool(atoms.pbc.all())
        if atoms.pbc.any() and not periodic:
            return LeftOut("OpenMM wants all directions periodic, or none")
        placed = place(atoms)  # what LAMMPS needs is what OpenMM needs
        context = self._context(tuple(atoms.numbers.tolist()), periodic)
        if periodic:
            context.setPeriodicBoxVectors(*(placed.atoms.cell.array / NM))
        context.setPositions(placed.atoms.positions / NM)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        forces = state.getForces(asNumpy=True).value_in_unit(
            unit.kilojoule_per_mole / unit.nanometer
        )
        turned = np.asarray(forces) * (KJ_PER_MOL / NM)
        return Prediction(energy * KJ_PER_MOL, turned @ placed.rotation)

    def _context(self, numbers: tuple[int, ...], periodic: bool) -> openmm.Context:
        if (numbers, periodic) not in self._contexts:
            system = openmm.System()
            for _ in numbers:
                system.addParticle(1.0)
            system.addForce(self.make_force(numbers, periodic))
            integrator = openmm.VerletIntegrator(0.001)
            context = openmm.Context(system, integrator, self.platform, self.properties)
            self._contexts[numbers, periodic] = context
        return self._contexts[numbers, periodic]
