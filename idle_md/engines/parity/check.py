"""The same structures in every engine that is installed, and how far the numbers are apart."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, get_args

import ase
import numpy as np

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.kernels import why_portable
from idle_md.engines.ase import Calculator
from idle_md.engines.choices import Mode
from idle_md.engines.lammps import process as lammps_run
from idle_md.engines.lammps.input import place
from idle_md.engines.lammps.single_point import evaluate_each
from idle_md.engines.parity.structures import SAMPLES
from idle_md.engines.predict import evaluate
from idle_md.testing import SMALLEST_FORCE, TOLERANCE, openmm_evaluator

REFERENCE = "ASE, portable"
QUANTITIES = ("energy", "forces", "stress", "energies")
OPENMM = ("torchforce", "pythontorchforce", "pythonforce")
LOOSER = 10.0
"""Single atoms' energies may differ by so many tolerances: nothing averages over them."""

Values = dict[str, Any]
"""What an engine gives for a structure, as ASE has it; a property that it has not is missing."""
Engine = Callable[[Sequence[ase.Atoms]], list[Values | str]]
"""Evaluates structures; a text is the reason why it leaves one out."""


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
        Of the model's precision, see ``idle_md.testing``.
    structures
        Number of atoms by name.
    comparisons
        One for every engine.
    """

    tolerance: float
    structures: dict[str, int]
    comparisons: list[Comparison]

    def exceeds(self, quantity: str, difference: float) -> bool:
        """Return whether a difference of a property is above the tolerance."""
        return difference > self.tolerance * (LOOSER if quantity == "energies" else 1.0)

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """Engine, structure and property of every difference above the tolerance."""
        return [
            (comparison.engine, structure, quantity)
            for comparison in self.comparisons
            for structure, row in comparison.differences.items()
            for quantity, difference in row.items()
            if self.exceeds(quantity, difference)
        ]


def check_engines(
    path: str | Path,
    structures: Mapping[str, ase.Atoms] | None = None,
    ranks: Sequence[int] = (1,),
) -> Check:
    """Evaluate structures in every engine that is installed and compare the results.

    The reference is the ASE calculator on the portable graph, in the precision of the file.

    Parameters
    ----------
    path
        Of a deployed model.
    structures
        By name; by default those of :mod:`idle_md.engines.parity.structures`, of the model's
        elements.
    ranks
        MPI ranks on which LAMMPS runs.

    Raises
    ------
    ValueError
        If the model is an explicit difference, which runs in ASE alone, or does not know an
        element.
    """
    model = load(path, kernels="portable")
    model.check_complete()
    elements = model.metadata.elements
    systems = dict(structures or {name: make(elements) for name, make in SAMPLES.items()})
    expected = _by_calculator(model, list(systems.values()))
    comparisons = []
    for name, engine in _engines(Path(path), model, ranks):
        if isinstance(engine, str):
            comparisons.append(Comparison(name, {}, {}, engine))
        else:
            comparisons.append(_compare(name, engine(list(systems.values())), systems, expected))
    sizes = {name: len(atoms) for name, atoms in systems.items()}
    return Check(TOLERANCE[model.dtype], sizes, comparisons)


def _engines(
    path: Path, model: DeployedModel, ranks: Sequence[int]
) -> Iterator[tuple[str, Engine | str]]:
    """Yield every engine by name, or the reason why it is not there."""
    portable = why_portable(model.metadata, model.device)
    native = portable or load(path, kernels="native")
    yield "evaluate, portable", partial(_together, model)
    yield "ASE, native", native if isinstance(native, str) else partial(_by_calculator, native)
    yield "evaluate, native", native if isinstance(native, str) else partial(_together, native)
    best = model if isinstance(native, str) else native
    for backend in OPENMM:
        yield f"OpenMM, {backend}", _why_not_openmm(backend) or partial(_openmm, best, backend)
    for mode, count in product(get_args(Mode), ranks):
        reason = lammps_run.why_not() or _why_not_lammps(mode, count, model)
        name = f"LAMMPS, {mode}, {count} rank{'s' if count > 1 else ''}"
        yield name, reason or partial(_lammps, path, mode, count)


def _by_calculator(model: DeployedModel, structures: Sequence[ase.Atoms]) -> list[Values | str]:
    calculator = Calculator(model)
    results: list[Values | str] = []
    for atoms in structures:
        calculator.calculate(atoms)
        results.append(_known(calculator.results))
    return results


def _together(model: DeployedModel, structures: Sequence[ase.Atoms]) -> list[Values | str]:
    return [_known(vars(each)) for each in evaluate(model, structures)]


def _known(results: Mapping[str, Any]) -> Values:
    return {name: results[name] for name in QUANTITIES if results.get(name) is not None}


def _why_not_openmm(backend: str) -> str | None:
    if find_spec("openmm") is None:
        return "OpenMM is not installed"
    from idle_md.engines.openmm.backends import why_not

    return None if backend == "pythonforce" else why_not(backend)


def _openmm(
    model: DeployedModel, backend: Any, structures: Sequence[ase.Atoms]
) -> list[Values | str]:
    """Energies and forces on the Reference platform."""
    from idle_md.engines.openmm.force import create_force

    def force(numbers: Sequence[int], periodic: bool) -> Any:
        return create_force(model, numbers, backend=backend, periodic=periodic)

    evaluator = openmm_evaluator(force)
    results: list[Values | str] = []
    for atoms in structures:
        if atoms.pbc.any() and not atoms.pbc.all():
            results.append("OpenMM wants all directions periodic, or none")
            continue
        placed = place(atoms)  # what LAMMPS needs is what OpenMM needs
        turned, cell = placed.atoms, placed.atoms.cell.array if atoms.pbc.all() else None
        energy, forces = evaluator(turned.numbers.tolist(), turned.positions, cell)
        results.append({"energy": energy, "forces": forces @ placed.rotation})
    return results


def _why_not_lammps(mode: str, ranks: int, model: DeployedModel) -> str | None:
    if mode == "fold" and ranks > 1:
        return "this mode is for one rank"
    if mode == "local" and model.metadata.interactions > 1:
        return "this mode is for models without message passing"
    return None


def _lammps(
    path: Path, mode: Mode, ranks: int, structures: Sequence[ase.Atoms]
) -> list[Values | str]:
    found = evaluate_each(path, structures, mode, ranks)
    return [
        f"refused: {each}"
        if isinstance(each, ValueError)
        else _known({**vars(each), "energies": each.atomic_energies})
        for each in found
    ]


def _compare(
    name: str,
    found: Sequence[Values | str],
    systems: Mapping[str, ase.Atoms],
    expected: Sequence[Any],
) -> Comparison:
    differences, left_out = {}, {}
    for (structure, atoms), own, wanted in zip(systems.items(), found, expected, strict=True):
        if isinstance(own, str):
            left_out[structure] = own
        else:
            differences[structure] = _differences(atoms, own, wanted)
    return Comparison(name, differences, left_out)


def _differences(atoms: ase.Atoms, found: Values, wanted: Values) -> dict[str, float]:
    row = {"energy": abs(found["energy"] - wanted["energy"]) / len(atoms)}
    row["forces"] = _relative(found["forces"], wanted["forces"])
    if "stress" in found:
        volume = atoms.get_volume() / len(atoms)
        row["stress"] = _relative(found["stress"] * volume, wanted["stress"] * volume)
    if "energies" in found:
        row["energies"] = float(np.abs(found["energies"] - wanted["energies"]).max())
    # What is no number must not pass.
    return {name: value if np.isfinite(value) else np.inf for name, value in row.items()}


def _relative(found: Any, wanted: Any) -> float:
    scale = max(SMALLEST_FORCE, float(np.sqrt(np.mean(np.square(wanted)))))
    return float(np.abs(found - wanted).max()) / scale
