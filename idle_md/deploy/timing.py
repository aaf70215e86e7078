"""Whether two deployed models take the same time, measured so that noise cancels."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

import ase
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idle_md.deploy.model import DeployedModel
from idle_md.deploy.torchscript import freeze

Samples = NDArray[np.float64]

SAMPLE_SECONDS = 2e-3
"""A sample is as many evaluations as fit in this time: short, so that neighbours share noise."""
WARM_UP = 10


class Ratio(TypedDict):
    """A ratio of times: its median over pairs of samples, and their 5% and 95% quantiles."""

    median: float
    low: float
    high: float


class SizeTiming(TypedDict):
    """Timing of one structure; milliseconds per evaluation are medians."""

    n_atoms: int
    n_edges: int
    ms_a: float
    ms_b: float
    ratio: Ratio
    a_to_itself: Ratio
    b_to_itself: Ratio


class Comparison(TypedDict):
    """Timing of two models: ratios a/b over all sizes, and each model's ratio to itself."""

    ratio: Ratio
    a_to_itself: Ratio
    b_to_itself: Ratio
    sizes: list[SizeTiming]
    operators_a: dict[str, int]
    operators_b: dict[str, int]
    head_widths_a: list[int]
    head_widths_b: list[int]


def compare_inference(
    a: DeployedModel, b: DeployedModel, structures: Sequence[ase.Atoms], repeats: int = 200
) -> Comparison:
    """Time two models side by side.

    Every repeat takes two samples of each model in random order, so that whatever else the machine
    does meets both alike; ratios are taken within a repeat. What a model's ratio to itself spreads
    is what the measurement cannot resolve. Neighbour lists are made beforehand: they are the same
    for both.

    Parameters
    ----------
    a, b
        Models to compare.
    structures
        One or more sizes, of elements that both models know.
    repeats
        Number of repeats per structure.
    """
    order = random.Random(0)
    timed = [_sample(a, b, atoms, repeats, order) for atoms in structures]
    every = np.concatenate([samples for samples, _ in timed])
    return Comparison(
        ratio=_ratio(every[:, 0], every[:, 2]),
        a_to_itself=_ratio(every[:, 0], every[:, 1]),
        b_to_itself=_ratio(every[:, 2], every[:, 3]),
        sizes=[size for _, size in timed],
        operators_a=operators(a),
        operators_b=operators(b),
        head_widths_a=a.metadata.head_widths,
        head_widths_b=b.metadata.head_widths,
    )


def _sample(
    a: DeployedModel, b: DeployedModel, atoms: ase.Atoms, repeats: int, order: random.Random
) -> tuple[Samples, SizeTiming]:
    """Return seconds per evaluation (repeats, 4) of a, a again, b, b again, and their summary."""
    structure = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    slots = [(column, m, m.inputs(*structure)) for column, m in enumerate((a, a, b, b))]
    for _, model, inputs in slots:
        _seconds(model, inputs, WARM_UP)
    count = max(1, round(SAMPLE_SECONDS / _seconds(a, inputs, WARM_UP)))
    samples = np.empty((repeats, 4))
    for repeat in range(repeats):
        for column, model, inputs in order.sample(slots, len(slots)):
            samples[repeat, column] = _seconds(model, inputs, count)
    size = SizeTiming(
        n_atoms=len(atoms),
        n_edges=inputs[1].shape[1],
        ms_a=1e3 * float(np.median(samples[:, :2])),
        ms_b=1e3 * float(np.median(samples[:, 2:])),
        ratio=_ratio(samples[:, 0], samples[:, 2]),
        a_to_itself=_ratio(samples[:, 0], samples[:, 1]),
        b_to_itself=_ratio(samples[:, 2], samples[:, 3]),
    )
    return samples, size


def _seconds(model: DeployedModel, inputs: tuple[Tensor, Tensor, Tensor], count: int) -> float:
    """Return the time of one evaluation, as a mean over ``count``."""
    species, edge_index, vectors = inputs
    with torch.no_grad():
        began = time.perf_counter()
        for _ in range(count):
            energies, _ = model.core(species, edge_index, vectors, len(species))
        energies[0].item()  # waits for an accelerator
        return (time.perf_counter() - began) / count


def _ratio(numerator: Samples, denominator: Samples) -> Ratio:
    low, median, high = np.quantile(numerator / denominator, [0.05, 0.5, 0.95])
    return Ratio(median=float(median), low=float(low), high=float(high))


def operators(model: DeployedModel) -> dict[str, int]:
    """Return how often each torch operator occurs in the frozen, inlined graph of a model."""
    kinds = Counter(node.kind() for node in _nodes(freeze(model.core).inlined_graph))
    return {kind: kinds[kind] for kind in sorted(kinds) if not kind.startswith("prim::")}


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)
