"""What every contestant of ``benchmarks/peers_speed.py`` shares.

A contestant gets a structure and its settings on the command line, tries its modes of inference,
and evaluates energy and forces in the fastest of them, in rounds. Needs numpy and torch alone, for
environments that hold nothing of idle_md.
"""

import argparse
import importlib.metadata
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers.rounds import Rounds
from torch import Tensor

Evaluate = Callable[[], tuple[Tensor, Tensor]]
"""Gives energy (one number) and forces (N, 3), from scratch but for the neighbour list."""
WARM_UP = 4
SAMPLES = 7
TOLERANCE = 1e-3
"""Largest difference of forces between modes, of the largest force."""


@dataclass(frozen=True)
class Structure:
    """A molecule or cluster: atomic numbers (N,) and positions (N, 3) in angstrom."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]

    def pairs(self, cutoff: float) -> NDArray[np.int64]:
        """Return centres and neighbours (2, E) within a cutoff in angstrom, every pair twice."""
        vectors = self.positions[:, None] - self.positions[None]
        near = np.linalg.norm(vectors, axis=-1) < cutoff
        np.fill_diagonal(near, False)
        return np.stack(np.nonzero(near))


@dataclass(frozen=True)
class Entry:
    """A model that takes part.

    Attributes
    ----------
    modes
        What makes a mode of inference ready, by name; the first one is what others must agree with.
    parameters
        Number of weights.
    packages
        What to tell the versions of.
    neighbor_list
        Whether a neighbour list is made within each evaluation.
    about
        What else the table should say.
    """

    modes: Mapping[str, Callable[[], Evaluate]]
    parameters: int
    packages: Sequence[str]
    neighbor_list: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


def count(module: torch.nn.Module) -> int:
    """Return the number of weights."""
    return sum(parameter.numel() for parameter in module.parameters())


def compete(build: Callable[[Structure, dict[str, Any]], Entry]) -> None:
    """Evaluate a model until the parent has seen enough."""
    parser = argparse.ArgumentParser()
    parser.add_argument("structure", type=Path)
    parser.add_argument("settings", type=json.loads)
    arguments = parser.parse_args()
    settings = arguments.settings
    warnings.filterwarnings("ignore")
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    with np.load(arguments.structure) as arrays:
        structure = Structure(arrays["numbers"], arrays["positions"])
    about: dict[str, Any] = {}
    rounds = Rounds(about, warm_up=1)
    entry = build(structure, settings)
    mode, evaluate, tried = fastest(entry.modes, len(structure.numbers))
    versions = {name: importlib.metadata.version(name) for name in ("torch", *entry.packages)}
    about.update(versions=versions, parameters=entry.parameters, mode=mode, modes=tried)
    about.update(neighbor_list=entry.neighbor_list, **entry.about)
    while True:
        rounds.tick()
        evaluate()


def fastest(
    modes: Mapping[str, Callable[[], Evaluate]], n_atoms: int
) -> tuple[str, Evaluate, dict[str, Any]]:
    """Return the name of the fastest mode, the mode, and milliseconds or the error of each.

    Raises
    ------
    RuntimeError
        If no mode works.
    """
    working, tried = _working(modes, n_atoms)
    if not working:
        raise RuntimeError("; ".join(f"{name}: {error}" for name, error in tried.items()))
    samples: dict[str, list[float]] = {name: [] for name in working}
    for _ in range(SAMPLES):
        for name, evaluate in working.items():
            start = time.perf_counter()
            evaluate()
            samples[name].append(1e3 * (time.perf_counter() - start))
    tried |= {name: statistics.median(times) for name, times in samples.items()}
    best = min(working, key=lambda name: tried[name])
    return best, working[best], tried


def _working(
    modes: Mapping[str, Callable[[], Evaluate]], n_atoms: int
) -> tuple[dict[str, Evaluate], dict[str, Any]]:
    """Return the modes that run and agree with the first of them, and the errors of the others."""
    working: dict[str, Evaluate] = {}
    errors: dict[str, Any] = {}
    expected: Tensor | None = None
    for name, prepare in modes.items():
        try:
            evaluate = prepare()
            forces = _warm(evaluate, n_atoms)
            expected = forces if expected is None else expected
            _check_same(forces, expected)
            working[name] = evaluate
        except Exception as error:
            lines = str(error).strip().splitlines()
            errors[name] = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return working, errors


def _warm(evaluate: Evaluate, n_atoms: int) -> Tensor:
    """Return the forces after a few evaluations."""
    for _ in range(WARM_UP):
        energy, forces = evaluate()
    forces = forces.detach().reshape(-1, 3)
    if forces.shape != (n_atoms, 3) or energy.numel() != 1:
        raise RuntimeError(f"{tuple(energy.shape)} energies, {tuple(forces.shape)} forces")
    if not (energy.isfinite().all() and forces.isfinite().all() and forces.any()):
        raise RuntimeError("energy or forces are not finite, or the forces are all zero")
    return forces.clone()


def _check_same(forces: Tensor, expected: Tensor) -> None:
    error = float((forces - expected).abs().max() / expected.abs().max())
    if error > TOLERANCE:
        raise RuntimeError(f"its forces differ by {error:.1e} of the largest force")
