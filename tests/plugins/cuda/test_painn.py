"""The kernels of PaiNN on the host against the portable graph in float64."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.plugins.cuda.conftest import SHAPES, weights_of
from tests.plugins.cuda.emulated import Emulated, Shape
from tests.plugins.cuda.sized import KINDS, SIZES, sized_system
from tests.plugins.systems import CUTOFF, Inputs, random_system

TOLERANCE = {"double": 1e-12, "float": 1e-5}
TF32 = 1e-3


def compare(
    emulated: Emulated, gradient, shape: Shape, inputs: Inputs, bessel: bool = True
) -> None:
    """Energies and gradients are the graph's, however blocks and threads take their turns."""
    dtype = torch.float64 if shape.real == "double" else torch.float32
    species, index, vectors, owned = inputs
    given = species, index, vectors.to(dtype), owned
    weights = weights_of(gradient, dtype)
    runs = [
        emulated.painn(weights, CUTOFF, bessel, shape, given, seed, shape.tabulated)
        for seed in range(2)
    ]
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)
    energies, gradients = runs[0]
    expected = gradient(species, index, given[2].double(), owned)
    tolerance = TF32 if shape.tf32 else TOLERANCE[shape.real]
    assert largest(energies[:owned] - expected[0][:owned]) <= tolerance * max(
        1.0, largest(expected[0])
    )
    assert largest(gradients.double() - expected[1]) <= tolerance * max(0.1, largest(expected[1]))


def largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_and_size(emulated, gradient_of, kind: str, n: int) -> None:
    """The shapes by turns; the slow test has all of them on all systems."""
    number = SIZES.index(n) + KINDS.index(kind)
    shape = [SHAPES["few atoms"], SHAPES["many atoms"], SHAPES["tables"]][number % 3]
    compare(emulated, gradient_of(interactions=3), shape, sized_system(kind, n))


@pytest.mark.parametrize("radial", ["bessel", "gaussian"])
def test_one_interaction_and_no_hidden_layer(emulated, gradient_of, radial: str) -> None:
    for interactions in (1, 2):
        gradient = gradient_of(features=16, hidden=0, interactions=interactions, radial=radial)
        for kind in ("open", "repeated"):
            system = sized_system(kind, 33)
            compare(emulated, gradient, SHAPES["no head"], system, radial == "bessel")


@pytest.mark.parametrize("kind", KINDS)
def test_tensor_cores(emulated, gradient_of, kind: str) -> None:
    gradient = gradient_of(interactions=3, hidden=24)
    compare(emulated, gradient, SHAPES["TF32"], sized_system(kind, 33))


@pytest.mark.slow
def test_200_random_systems(emulated, gradient_of) -> None:
    gradient = gradient_of(interactions=3)
    for seed in range(200):
        for name in ("few atoms", "many atoms", "tables"):
            compare(emulated, gradient, SHAPES[name], random_system(seed))
    for n in SIZES:
        for kind in KINDS:
            for name in ("few atoms", "many atoms", "tables"):
                compare(emulated, gradient, SHAPES[name], sized_system(kind, n, seed=1))


def spoiled(what: str) -> Inputs:
    species, index, vectors, owned = (
        each.clone() if isinstance(each, Tensor) else each for each in sized_system("open", 31)
    )
    if what == "order":
        index[:, [0, -1]] = index[:, [-1, 0]]
    elif what == "centre":
        index[0, -1] = 31
    elif what == "neighbour":
        index[1, 3] = -1
    elif what == "length":
        vectors[5] = 0.0
    elif what == "number":
        vectors[5, 1] = torch.nan
    elif what == "infinity":
        vectors[5, 1] = torch.inf
    elif what == "species":
        species[30] = 1000
    return species, index, vectors, owned


@pytest.mark.parametrize(
    "what", ["order", "centre", "neighbour", "length", "number", "infinity", "species"]
)
def test_what_the_contract_forbids_gives_no_number(emulated, gradient_of, what: str) -> None:
    weights = weights_of(gradient_of(interactions=3), torch.float64)
    shape = SHAPES["few atoms"]
    energies, gradients = emulated.painn(
        weights, CUTOFF, True, shape, spoiled(what), tabulated=False
    )
    assert bool(energies.isnan().all())
    assert bool(gradients.isnan().all())


def test_unknown_element_gives_no_number(emulated, gradient_of) -> None:
    species, index, vectors, owned = sized_system("open", 31)
    species[0] = 2  # between two elements of the model
    weights = weights_of(gradient_of(interactions=3), torch.float64)
    energies, _ = emulated.painn(
        weights,
        CUTOFF,
        True,
        SHAPES["few atoms"],
        (species, index, vectors, owned),
        tabulated=False,
    )
    assert np.isnan(float(energies.sum()))


def test_blocks_are_shared_out_as_on_a_gpu(emulated, gradient_of) -> None:
    """128 features and 3 interactions on 21 atoms, where there are 132 processors."""
    gradient = gradient_of(features=128, hidden=64, interactions=3, n_radial=20)
    species, index, vectors, owned = sized_system("open", 21)
    found = emulated.painn(
        weights_of(gradient, torch.float32),
        CUTOFF,
        True,
        None,
        (species, index, vectors.float(), owned),
    )
    expected = gradient(species, index, vectors.float().double(), owned)
    assert largest(found[0] - expected[0]) <= 1e-5 * max(1.0, largest(expected[0]))
    assert largest(found[1].double() - expected[1]) <= 1e-5 * largest(expected[1])
    assert emulated.launches == 15
