"""Every native operator on random inputs, legal or not: it raises or answers, and never crashes."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from idle_md.deploy import load
from tests.plugins.systems import ELEMENTS, random_system

pytestmark = pytest.mark.usefixtures("ops")
SECONDS = 90.0  # of the longest of the tests


def test_painn_energy_gradient(model_file) -> None:
    model = load(model_file(dtype=torch.float32), kernels="native").core.gradient.model
    species, pairs, vectors, owned = random_system(20)
    good = [species, pairs, vectors.float(), owned]

    def call(*inputs: Any) -> Any:
        return torch.ops.idle_md.painn_energy_gradient(model, *inputs)

    answered = 0
    for inputs, (energies, gradients) in answers(call, good, 20_000):
        answered += 1
        assert energies.shape == inputs[0].shape
        assert gradients.shape == inputs[2].shape
        if set(inputs[0].tolist()) <= set(ELEMENTS):  # another one gives NaN, as it should
            assert bool(gradients.isfinite().all())
    assert 1_000 < answered < 19_000


def neighbor_list() -> Callable[..., Any]:
    return torch.ops.idle_md.neighbor_list


def list_with_skin() -> Callable[..., Any]:
    def call(positions: Tensor, cell: Tensor, pbc: list[bool], cutoff: float) -> Any:
        kept = torch.classes.idle_md.NeighborList(cutoff, 0.5)
        kept.compute(positions, cell, pbc, torch.float64)
        return kept.compute(positions + 0.1, cell, pbc, torch.float64)

    return call


@pytest.mark.parametrize("make", [neighbor_list, list_with_skin])
def test_neighbor_lists(make) -> None:
    generator = torch.Generator().manual_seed(0)
    positions = 6.0 * torch.rand(12, 3, generator=generator, dtype=torch.float64)
    good = [positions, 6.0 * torch.eye(3, dtype=torch.float64), [True, True, False], 4.0]
    answered = 0
    for inputs, (edge_index, vectors) in answers(make(), good, 20_000):
        answered += 1
        assert vectors.shape == (edge_index.shape[1], 3)
        assert bool(((edge_index >= 0) & (edge_index < len(inputs[0]))).all())
        assert bool(vectors.isfinite().all())
    assert 1_000 < answered < 19_000


def test_edge_forces() -> None:
    species, pairs, vectors, _ = random_system(20)
    answered = 0
    operator = torch.ops.idle_md.edge_forces
    for inputs, forces in answers(operator, [vectors, pairs, len(species)], 20_000):
        answered += 1
        assert forces.shape == (inputs[2], 3)
    assert 1_000 < answered < 19_000


def test_particles() -> None:
    """From an engine's particles to edges and back."""
    generator = torch.Generator().manual_seed(0)
    positions = 6.0 * torch.rand(12, 3, generator=generator, dtype=torch.float64)
    good = [positions, 6.0 * torch.eye(3), torch.tensor([3, 1, 11, 0]), 1.0]

    def call(positions: Tensor, box: Tensor, atoms: Tensor, angstrom: float) -> Any:
        kept = torch.classes.idle_md.NeighborList(4.0, 0.5)
        kept.compute_particles(positions, box, atoms, angstrom, torch.float32)
        return kept.compute_particles(positions + 0.1, box, atoms, angstrom, torch.float32)

    answered = 0
    for inputs, (edge_index, vectors) in answers(call, good, 20_000):
        answered += 1
        assert bool(((edge_index >= 0) & (edge_index < len(inputs[2]))).all())
        assert bool(vectors.isfinite().all())
    assert 1_000 < answered < 19_000


def test_particle_forces() -> None:
    species, pairs, vectors, _ = random_system(20)
    energies, atoms = torch.ones(len(species)), torch.arange(len(species)).flip(0)
    good = [energies, vectors, pairs, atoms, len(atoms) + 5, 1.0]

    def call(*inputs: Any) -> Any:
        return torch.ops.idle_md.particle_forces(*inputs, 1.0, torch.float64)

    answered = 0
    for inputs, (energy, forces) in answers(call, good, 20_000):
        answered += 1
        assert energy.shape == ()
        assert forces.shape == (inputs[4], 3)
    assert 1_000 < answered < 19_000


def answers(call: Callable[..., Any], good: list[Any], n: int) -> Iterator[tuple[list[Any], Any]]:
    """Inputs that an operator has an answer to, and the answers, of ``n`` random ones."""
    rng, began = random.Random(0), time.monotonic()
    for _ in range(n):
        inputs = list(good)
        for _ in range(rng.randint(1, 2)):
            position = rng.randrange(len(good))
            inputs[position] = mutated(inputs[position], rng)
        try:
            result = call(*inputs)
        except (ValueError, TypeError, RuntimeError):
            continue
        yield inputs, result
    assert time.monotonic() - began < SECONDS


def mutated(value: Any, rng: random.Random) -> Any:
    """Return another input, legal or not."""
    if isinstance(value, list):
        return rng.choice([value[1:], [*value, True], [], [not each for each in value]])
    if isinstance(value, float):
        return rng.choice([0.0, 1.0, 3.0, -1.0, torch.nan, torch.inf, -torch.inf, 1e-30])
    if isinstance(value, int):
        return rng.choice([0, 1, value, -1, 10**6, -(2**62), 2**62])
    if value.numel() == 0 or value.dtype not in (torch.int64, torch.float32, torch.float64):
        return value
    changed = value.clone(memory_format=torch.contiguous_format)
    flat = changed.view(-1)
    where = rng.randrange(len(flat))
    special = [0, 1, 2, 6, 8, -1, 99, 10**9, -(2**62)]
    if value.is_floating_point():
        special = [0.0, torch.nan, torch.inf, -1e30, 1e-30, 5.0, 1e-3]
    action = rng.randrange(9)
    if action < 4:
        flat[where] = rng.choice(special)
    elif action == 4:
        return changed[rng.randrange(len(changed)) :]
    elif action == 5:
        return changed.flip(-1)
    elif action == 6:
        types = {torch.int32, torch.float32, torch.float64, torch.float16, torch.bool}
        return changed.to(rng.choice(sorted(types - {value.dtype}, key=str)))
    elif action == 7:
        return changed[..., ::2]
    else:
        return changed.reshape(-1)
    return changed
