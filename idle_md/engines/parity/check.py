"""The same structures in every engine that is installed, and how far the numbers are apart."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.gate import Remarks, StateWarning
from idle_md.engines.ase import AseEngine
from idle_md.engines.engine import Engine
from idle_md.engines.parity.structures import SAMPLES
from idle_md.engines.registry import engines
from idle_md.engines.results import Array, LeftOut, Prediction
from idle_md.tolerances import LOOSER_FOR_ATOMS, RELATIVE, ROUNDINGS, SMALLEST_FORCE

REFERENCE = AseEngine("portable")
ORIENTATIONS = 5  # in which rounding is looked at
QUANTITIES = ("energy", "forces", "stress", "energies")


@dataclass(frozen=True)
class Comparison:
    """One engine beside the reference.

    Attributes
    ----------
    engine
        Its name.
    differences
        By structure and property: ``energy`` in eV per atom; ``forces``, largest difference over
        the root mean square of the reference, which counts as 0.1 eV/angstrom at least; ``stress``
        the same, of stress times volume per atom in eV; ``energies`` of atoms in eV.
    left_out
        By structure, why it was not evaluated; that counts neither way.
    why_not
        Why the engine was not run at all, or None.
    """

    engine: str
    differences: dict[str, dict[str, float]]
    left_out: dict[str, str]
    why_not: str | None = None

    @property
    def largest(self) -> dict[str, float]:
        """The largest difference over all structures, by property."""
        rows = self.differences.values()
        known = [name for name in QUANTITIES if any(name in row for row in rows)]
        return {name: max(row[name] for row in rows if name in row) for name in known}


@dataclass(frozen=True)
class Check:
    """What :func:`check_engines` found.

    Attributes
    ----------
    tolerance
        Of the model's precision, see :mod:`idle_md.tolerances`.
    structures
        Number of atoms by name.
    comparisons
        One for every engine.
    rounding
        By structure and property, how far the reference in single precision is from itself in
        double precision, at most in some orientations; nothing for a model in double precision.
    """

    tolerance: float
    structures: dict[str, int]
    comparisons: list[Comparison]
    rounding: dict[str, dict[str, float]] = field(default_factory=dict)

    def allowed(self, structure: str, quantity: str) -> float:
        """Return how far engines may be apart: the tolerance, or what rounding alone gives."""
        tolerance = self.tolerance * (LOOSER_FOR_ATOMS if quantity == "energies" else 1.0)
        return max(tolerance, ROUNDINGS * self.rounding.get(structure, {}).get(quantity, 0.0))

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """Engine, structure and property of every difference above the tolerance."""
        return [
            (comparison.engine, structure, quantity)
            for comparison in self.comparisons
            for structure, row in comparison.differences.items()
            for quantity, difference in row.items()
            if difference > self.allowed(structure, quantity)
        ]


def check_engines(
    path: str | Path,
    structures: Mapping[str, ase.Atoms] | None = None,
    ranks: Sequence[int] = (1,),
    others: Sequence[Engine] | None = None,
    device: str = "cpu",
) -> Check:
    """Evaluate structures in every engine that is installed and compare the results.

    The reference is the ASE calculator on the portable graph and the CPU, in the precision of the
    file.

    Parameters
    ----------
    path
        Of a deployed model.
    structures
        By name; by default those of :mod:`idle_md.engines.parity.structures`, of the model's
        elements.
    ranks
        MPI ranks on which LAMMPS runs.
    others
        Engines that are compared; by default all of :func:`idle_md.engines.registry.engines`.
    device
        Where those run the model, see :func:`idle_md.deploy.load`; those of other packages where
        they choose.

    Raises
    ------
    ValueError
        If the model is an explicit difference, which runs in ASE alone, or does not know an
        element; or if there is no such device.
    """
    model = load(path, device, kernels="portable")
    model.check_complete()
    elements = model.metadata.elements
    systems = dict(structures or {name: make(elements) for name, make in SAMPLES.items()})
    remarks = Remarks(model.metadata)
    for index, atoms in enumerate((structures or {}).values()):
        remarks.note(index, atoms)
    remarks.warn()
    comparisons = []
    with warnings.catch_warnings():  # every engine would say it, and samples are no molecules
        warnings.simplefilter("ignore", StateWarning)
        wanted = REFERENCE.evaluator(path)(list(systems.values()))
        for engine in engines(ranks, device) if others is None else others:
            reason = engine.why_not(model)
            if reason is not None:
                comparisons.append(Comparison(engine.name, {}, {}, reason))
            elif engine != REFERENCE:
                comparisons.append(_compare(engine, path, systems, wanted))
        rounding = _rounding(path, model, systems)
    sizes = {name: len(atoms) for name, atoms in systems.items()}
    return Check(RELATIVE[model.dtype], sizes, comparisons, rounding)


def _rounding(
    path: str | Path, model: DeployedModel, systems: Mapping[str, ase.Atoms]
) -> dict[str, dict[str, float]]:
    if model.dtype == torch.float64:
        return {}
    single = REFERENCE.evaluator(path)
    double = REFERENCE.evaluator(load(path, dtype=torch.float64, kernels="portable"))
    rows = {}
    for name, atoms in systems.items():
        turned = [atoms.copy() for _ in range(ORIENTATIONS)]
        for angle, each in enumerate(turned):
            each.rotate(77 * angle, (1, 2, 3), rotate_cell=True)
        both: Any = zip(turned, single(turned), double(turned), strict=True)
        found = [_differences(*each) for each in both]
        rows[name] = {quantity: max(row[quantity] for row in found) for quantity in found[0]}
    return rows


def _compare(
    engine: Engine, path: str | Path, systems: Mapping[str, ase.Atoms], wanted: Sequence[Any]
) -> Comparison:
    found = engine.evaluator(path)(list(systems.values()))
    differences, left_out = {}, {}
    for (structure, atoms), own, expected in zip(systems.items(), found, wanted, strict=True):
        if isinstance(own, LeftOut):
            left_out[structure] = own.reason
        else:
            differences[structure] = _differences(atoms, own, expected)
    return Comparison(engine.name, differences, left_out)


def _differences(atoms: ase.Atoms, found: Prediction, wanted: Prediction) -> dict[str, float]:
    row = {"energy": abs(found.energy - wanted.energy) / len(atoms)}
    row["forces"] = _relative(found.forces, wanted.forces)
    if found.stress is not None and wanted.stress is not None:
        volume = atoms.get_volume() / len(atoms)
        row["stress"] = _relative(found.stress * volume, wanted.stress * volume)
    if found.energies is not None and wanted.energies is not None:
        row["energies"] = float(np.abs(found.energies - wanted.energies).max())
    # What is no number must not pass.
    return {name: value if np.isfinite(value) else np.inf for name, value in row.items()}


def _relative(found: Array, wanted: Array) -> float:
    scale = max(SMALLEST_FORCE, float(np.sqrt(np.mean(np.square(wanted)))))
    return float(np.abs(found - wanted).max()) / scale
