"""The deployed core on every legal edge set, against autograd through the training model."""

import pytest
import torch
from torch import Tensor

from idle_md.deploy import DeployedCore, extract
from idle_md.deploy.torchscript import script
from idle_md.nn import Potential

CUTOFF = 4.0
SETTINGS = [
    {"interactions": 1},
    {"interactions": 2},
    {"interactions": 3, "radial": "gaussian"},
    {"interactions": 2, "correction": False},
    {"interactions": 2, "hidden": 0},
    {"name": "hipnn", "interactions": 1, "tensor_order": 0},
    {"name": "hipnn", "interactions": 2, "tensor_order": 1, "hidden": 4},
    {"name": "hipnn", "interactions": 3, "tensor_order": 2, "atom_layers": 2},
    {"name": "hipnn", "features": 4, "atom_layers": 0},
    {"name": "gmnn"},
    {"name": "gmnn", "layers": [8], "n_radial": 1, "n_basis": 4, "hidden": 4},
]
Edges = tuple[Tensor, Tensor, Tensor]  # species, edge_index, edge_vectors


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def pair(make_potential, request) -> tuple[Potential, DeployedCore]:
    potential = make_potential(**request.param)
    return potential, script(extract(potential, "high"))


def random_edges(n_atoms: int, n_edges: int, longest: float = 1.2 * CUTOFF, seed: int = 0) -> Edges:
    """Edges as trimmed lists have them: no reverse, repeated pairs, atoms seeing themselves."""
    generator = torch.Generator().manual_seed(seed)
    species = torch.tensor([1, 6, 7, 8])[torch.arange(n_atoms) % 4]
    centre = torch.randint(n_atoms, (n_edges,), generator=generator).sort().values
    neighbor = torch.randint(n_atoms, (n_edges,), generator=generator)
    direction = torch.randn(n_edges, 3, generator=generator, dtype=torch.float64)
    length = 0.8 + (longest - 0.8) * torch.rand(n_edges, 1, generator=generator).double()
    vectors = length * direction / direction.norm(dim=1, keepdim=True)
    return species, torch.stack([centre, neighbor]), vectors


def by_autograd(potential: Potential, edges: Edges, n_owned: int) -> tuple[Tensor, Tensor]:
    species, edge_index, vectors = edges
    vectors = vectors.clone().requires_grad_(True)
    energies = potential(species, edge_index, vectors)[:, potential.column("high")]
    (gradient,) = torch.autograd.grad(energies[:n_owned].sum(), vectors)
    return energies.detach(), gradient


def assert_equal(pair, edges: Edges, n_owned: int) -> None:
    potential, core = pair
    energies, gradients = core(*edges, n_owned)
    expected_energies, expected_gradients = by_autograd(potential, edges, n_owned)
    torch.testing.assert_close(energies[:n_owned], expected_energies[:n_owned], rtol=0.0, atol=1e-9)
    torch.testing.assert_close(gradients, expected_gradients, rtol=0.0, atol=1e-9)


EDGE_SETS = {
    "trimmed, repeated, self and long": random_edges(7, 60),
    "all beyond the cutoff": (*random_edges(5, 20)[:2], random_edges(5, 20)[2] * 9),
    "empty": random_edges(3, 0),
    "one atom": random_edges(1, 0),
    "one atom and its images": random_edges(1, 12),
    "atoms without edges": random_edges(40, 9),
}


@pytest.mark.parametrize("edges", EDGE_SETS.values(), ids=EDGE_SETS)
def test_energies_and_gradients_are_those_of_autograd(pair, edges) -> None:
    assert_equal(pair, edges, len(edges[0]))


@pytest.mark.parametrize("n_owned", [0, 1, 4])
def test_gradients_are_those_of_the_owned_atoms(pair, n_owned) -> None:
    assert_equal(pair, random_edges(7, 60), n_owned)


def test_no_atoms(pair) -> None:
    nothing = torch.zeros(0, dtype=torch.int64), torch.zeros((2, 0), dtype=torch.int64)
    energies, gradients = pair[1](*nothing, torch.zeros(0, 3).double(), 0)
    assert energies.shape == (0,)
    assert energies.dtype == torch.float64
    assert gradients.shape == (0, 3)


def test_padded_edges_change_nothing(pair) -> None:
    species, edge_index, vectors = random_edges(7, 60, longest=CUTOFF)
    energies, gradients = pair[1](species, edge_index, vectors, 7)
    padding = torch.tensor([[CUTOFF, 0, 0], [0, 1e3, 0], [3, 3, 3]], dtype=torch.float64)
    where = torch.tensor([6, 6, 6])
    padded = torch.cat([edge_index, torch.stack([where, where - 2])], dim=1)
    found = pair[1](species, padded, torch.cat([vectors, padding]), 7)
    torch.testing.assert_close(found[0], energies, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(found[1][:60], gradients, rtol=0.0, atol=1e-12)
    assert not found[1][60:].any()


def test_edges_beyond_the_cutoff_have_exactly_no_gradient(pair) -> None:
    species, edge_index, vectors = random_edges(7, 60, longest=2 * CUTOFF)
    beyond = vectors.norm(dim=1) >= CUTOFF
    assert 5 < int(beyond.sum()) < 55
    gradients = pair[1](species, edge_index, vectors, 7)[1]
    assert not gradients[beyond].any()
    assert gradients[~beyond].any(dim=1).all()


def test_nothing_is_left_to_autograd(pair) -> None:
    species, edge_index, vectors = random_edges(7, 60)
    energies, gradients = pair[1](species, edge_index, vectors.requires_grad_(True), 7)
    assert not energies.requires_grad
    assert not gradients.requires_grad
    assert all(not buffer.requires_grad for buffer in pair[1].buffers())
    assert not list(pair[1].parameters())


def test_inputs_are_not_written_to(pair) -> None:
    edges = random_edges(7, 60)
    before = [tensor.clone() for tensor in edges]
    pair[1](*edges, 4)
    assert all(torch.equal(now, then) for now, then in zip(edges, before, strict=True))


def test_unknown_element_gives_no_number(pair) -> None:
    species, edge_index, vectors = random_edges(7, 60)
    species = species.clone()
    species[2] = 5
    assert pair[1](species, edge_index, vectors, 7)[0].isnan().any()


@pytest.mark.parametrize("name", ["painn", "hipnn", "gmnn"])
def test_float32_agrees_with_float64(make_potential, name) -> None:
    potential = make_potential(dtype=torch.float32, name=name)
    single = script(extract(potential, "high"))
    double = script(extract(potential.to_precision(torch.float64), "high"))
    species, edge_index, vectors = random_edges(7, 60)
    energies, gradients = single(species, edge_index, vectors.float(), 7)
    exact_energies, exact_gradients = double(species, edge_index, vectors, 7)
    assert energies.dtype == torch.float64
    assert gradients.dtype == torch.float32
    torch.testing.assert_close(energies, exact_energies, rtol=0.0, atol=1e-5)
    scale = max(0.1, float(exact_gradients.square().mean().sqrt()))
    assert float((gradients - exact_gradients).abs().max()) <= 1e-5 * scale
