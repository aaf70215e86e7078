from itertools import combinations_with_replacement as multisets
from itertools import product

import numpy as np
import pytest
import torch

from idle_md.nn import GMNN
from idle_md.nn.gmnn.layers import Contractions
from idle_md.testing import Invariants, Subject, isolated_energies, potential_evaluator

SETTINGS = [{}, {"layers": [8], "hidden": 4, "n_basis": 5}]


class TestGMNN(Invariants):
    @pytest.fixture(scope="class", params=SETTINGS, ids=str)
    @classmethod
    def subject(cls, make_potential, request) -> Subject:
        potential = make_potential(name="gmnn", **request.param)
        return Subject(
            potential_evaluator(potential, "high"),
            potential.backbone.elements,
            potential.backbone.cutoff,
            isolated_energies(potential, "high"),
        )


CUTOFF, S, K, SHORTEST = 4.0, 5, 7, 0.5
ELEMENTS = [1, 6, 8]
NUMBERS = [8, 1, 6]
POSITIONS = np.array([[0.0, 0.1, 0.0], [0.96, 0.0, 0.2], [-0.7, 1.1, 0.3]])
PAIRS = [(i, j) for i in range(3) for j in range(3) if i != j]


@pytest.fixture
def backbone() -> GMNN:
    torch.manual_seed(0)
    sizes = {"layers": [6, 4], "n_radial": S, "n_basis": K, "shortest": SHORTEST}
    backbone = GMNN(ELEMENTS, GMNN.Config(cutoff=CUTOFF, **sizes)).to(torch.float64)
    for name, parameter in backbone.named_parameters():
        if "coefficients" not in name:
            torch.nn.init.normal_(parameter)
    return backbone


def radial(backbone: GMNN, i: int, j: int) -> list[float]:
    """The radial channels of a pair, term by term."""
    r = np.linalg.norm(POSITIONS[j] - POSITIONS[i])
    x = r / CUTOFF
    fade = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    beta = K**2 / CUTOFF**2
    basis = [
        (2 * beta / np.pi) ** 0.25
        * np.exp(-beta * (r - SHORTEST - k * (CUTOFF - SHORTEST) / K) ** 2)
        for k in range(K)
    ]
    first, second = (ELEMENTS.index(NUMBERS[atom]) for atom in (i, j))
    coefficients = backbone.descriptor.coefficients.detach().numpy()[first * 3 + second]
    return [
        sum(coefficients[s, k] * basis[k] for k in range(K)) / np.sqrt(K) * fade for s in range(S)
    ]


def test_radial_functions_are_those_of_the_formula(backbone) -> None:
    for i, j in PAIRS:
        distance = torch.tensor([np.linalg.norm(POSITIONS[j] - POSITIONS[i])])
        pair = torch.tensor([ELEMENTS.index(NUMBERS[i]) * 3 + ELEMENTS.index(NUMBERS[j])])
        found = backbone.descriptor.radial(distance, pair)[0].detach()
        np.testing.assert_allclose(found, radial(backbone, i, j), rtol=1e-6)  # centres are float32


def invariants(backbone: GMNN, atom: int) -> list[float]:
    """All invariants of an atom, in no particular order."""
    zero, one = np.zeros(S), np.zeros((S, 3))
    two, three = np.zeros((S, 3, 3)), np.zeros((S, 3, 3, 3))
    for i, j in PAIRS:
        if i != atom:
            continue
        bond = POSITIONS[j] - POSITIONS[i]
        unit = bond / np.linalg.norm(bond)
        for s, value in enumerate(radial(backbone, i, j)):
            zero[s] += value
            one[s] += value * unit
            two[s] += value * np.einsum("i,j->ij", unit, unit)
            three[s] += value * np.einsum("i,j,k->ijk", unit, unit, unit)
    found = list(zero)
    for r, s in multisets(range(S), 2):
        found += [np.sum(one[r] * one[s]), np.sum(two[r] * two[s]), np.sum(three[r] * three[s])]
        for t in range(S):
            found.append(np.einsum("i,j,ij", one[r], one[s], two[t]))
            found.append(np.einsum("ijk,ijl,kl", three[r], three[s], two[t]))
    for r, s, t in multisets(range(S), 3):
        found.append(np.einsum("ij,ik,jk", two[r], two[s], two[t]))
    for r, s, t in product(range(S), repeat=3):
        found.append(np.einsum("ijk,ij,k", three[r], two[s], one[t]))
    return found


def edges() -> tuple[torch.Tensor, torch.Tensor]:
    edge_index = torch.tensor(PAIRS).t()
    positions = torch.from_numpy(POSITIONS)
    return edge_index, positions[edge_index[1]] - positions[edge_index[0]]


def test_descriptor_is_that_of_the_formulas(backbone) -> None:
    elements = torch.tensor([ELEMENTS.index(number) for number in NUMBERS])
    found = backbone.descriptor(elements, *edges()).detach().numpy()
    assert found.shape == (3, 360)
    for atom in range(3):
        expected = invariants(backbone, atom)
        assert len(expected) == 360
        np.testing.assert_allclose(
            np.sort(found[atom]), np.sort(expected), rtol=1e-6, atol=1e-6 * np.abs(expected).max()
        )


def test_network_is_in_the_ntk_parametrisation(backbone) -> None:
    elements = torch.tensor([ELEMENTS.index(number) for number in NUMBERS])
    x = backbone.descriptor(elements, *edges()).detach().numpy()
    normal = np.random.default_rng(0).normal(size=1_000_000)
    gain = 1 / np.sqrt(np.mean((normal / (1 + np.exp(-normal))) ** 2))
    for layer in backbone.network.values():
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        inner = x @ weight.T / np.sqrt(weight.shape[1]) + 0.1 * bias
        x = gain * inner / (1 + np.exp(-inner))
    expected = x * backbone.scale.detach().numpy()[elements][:, None]
    found = backbone(torch.tensor(NUMBERS), *edges()).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=5e-3)  # the gain is a mean over samples


@pytest.mark.parametrize(("n_radial", "size"), [(1, 8), (2, 35), (3, 94), (5, 360), (7, 910)])
def test_number_of_invariants(n_radial, size) -> None:
    contractions = Contractions(n_radial)
    assert contractions.size == contractions(torch.randn(2, n_radial, 20)).shape[1] == size
    pairs, triples = n_radial * (n_radial + 1) // 2, n_radial * (n_radial + 1) * (n_radial + 2) // 6
    assert size == n_radial + 3 * pairs + triples + 2 * pairs * n_radial + n_radial**3


def test_atoms_beyond_the_cutoff_are_not_seen(make_potential) -> None:
    """Strictly local: a neighbour's own neighbours change nothing."""
    backbone = make_potential(name="gmnn").backbone
    chain = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    bonds = torch.tensor([[3.0, 0, 0], [-3.0, 0, 0], [3.0, 0, 0], [-3.0, 0, 0]]).double()
    species = torch.tensor([6, 6, 8])
    alone = backbone(species[:2], chain[:, :2], bonds[:2])
    assert torch.equal(backbone(species, chain, bonds)[0], alone[0])
    assert backbone.interactions == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": []}, "layers\n.*at least 1 item"),
        ({"layers": [8, 0]}, "layers.1\n.*greater than 0"),
        ({"n_radial": 0}, "n_radial\n.*greater than 0"),
        ({"cutoff": 0.0}, "cutoff\n.*greater than 0"),
    ],
    ids=str,
)
def test_bad_settings_are_errors(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        GMNN.Config(**settings)
