import numpy as np
import pytest
import torch
from torch import nn

from idle_md.nn import HIPNN
from idle_md.nn.hipnn.layers import Sensitivities, unit_tensors
from idle_md.testing import Invariants, Subject, isolated_energies, potential_evaluator

SETTINGS = [
    {"tensor_order": 0},
    {"tensor_order": 1, "interactions": 1, "atom_layers": 0},
    {"tensor_order": 2, "features": 8, "interactions": 3},
]


class TestHIPNN(Invariants):
    @pytest.fixture(scope="class", params=SETTINGS, ids=str)
    @classmethod
    def subject(cls, make_potential, request) -> Subject:
        potential = make_potential(name="hipnn", **request.param)
        return Subject(
            potential_evaluator(potential, "high"),
            potential.backbone.elements,
            potential.backbone.cutoff,
            isolated_energies(potential, "high"),
        )


CUTOFF = 4.0
NUMBERS = [8, 1, 6]
POSITIONS = np.array([[0.0, 0.1, 0.0], [0.96, 0.0, 0.2], [-0.7, 1.1, 0.3]])
PAIRS = [(i, j) for i in range(3) for j in range(3) if i != j]


def fade(r: float) -> float:
    x = r / CUTOFF
    return 1 - 28 * x**6 + 48 * x**7 - 21 * x**8


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in module.named_parameters()}


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log(1 + np.exp(x))


def test_sensitivities_are_gaussians_of_the_inverse_distance() -> None:
    functions = Sensitivities(4, 0.75, CUTOFF).double()
    with torch.no_grad():
        functions.mu.copy_(torch.tensor([0.8, 1.1, 1.7, 2.9]))
        functions.sigma.copy_(torch.tensor([5.0, 6.0, 2.0, 9.0]))
    mu, sigma = weights(functions)["mu"], weights(functions)["sigma"]
    for r in (0.7, 1.3, 3.2, 3.99):
        expected = [
            np.exp(-((1 / r - 1 / mu[nu]) ** 2) * sigma[nu] ** 2 / 2) * fade(r) for nu in range(4)
        ]
        found = functions(torch.tensor([r], dtype=torch.float64))[0].detach()
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_sensitivities_start_equally_spaced_in_the_inverse_distance() -> None:
    functions = Sensitivities(20, 0.75, 6.5)
    inverse = 1 / functions.mu.detach().numpy()
    np.testing.assert_allclose(inverse[[0, -1]], [1 / 5.5, 1 / 0.75], rtol=1e-6)
    np.testing.assert_allclose(np.diff(inverse), np.diff(inverse)[0], rtol=1e-4)
    assert functions.sigma.detach().unique().tolist() == [30.0]


def test_squares_of_the_quadrupole_add_up_to_its_norm() -> None:
    torch.manual_seed(0)
    several = torch.randn(5, 3, dtype=torch.float64)
    units = several / several.norm(dim=1, keepdim=True)
    quadrupoles = torch.einsum("ei,ej->eij", units, units) - torch.eye(3) / 3.0
    torch.testing.assert_close(
        unit_tensors(units, 2)[:, 4:].sum(0).square().sum(), quadrupoles.sum(0).square().sum()
    )


def interaction_of(block: nn.Module, level: np.ndarray, order: int) -> np.ndarray:
    """The formulas of the papers, neighbour by neighbour."""
    w = weights(block)
    features = len(w["output.bias"])
    mu, sigma = w["interaction.sensitivities.mu"], w["interaction.sensitivities.sigma"]
    v = w["interaction.environment.weight"].reshape(len(mu), features, level.shape[1])
    scalar = np.zeros((3, features))
    vector = np.zeros((3, features, 3))
    quadrupole = np.zeros((3, features, 3, 3))
    for i, j in PAIRS:
        bond = POSITIONS[j] - POSITIONS[i]
        r = np.linalg.norm(bond)
        unit = bond / r
        for nu in range(len(mu)):
            s = np.exp(-((1 / r - 1 / mu[nu]) ** 2) * sigma[nu] ** 2 / 2) * fade(r)
            sent = s * v[nu] @ level[j]
            scalar[i] += sent
            vector[i] += np.multiply.outer(sent, unit)
            quadrupole[i] += np.multiply.outer(sent, np.outer(unit, unit) - np.eye(3) / 3)
    total = scalar + level @ w["interaction.own.weight"].T + w["interaction.own.bias"]
    if order > 0:
        norm = np.sqrt((vector**2).sum(2) + 1e-6)
        total += w["interaction.norms.0.weight"] * norm
    if order > 1:
        norm = np.sqrt((quadrupole**2).sum((2, 3)) + 1e-6)
        total += w["interaction.norms.1.weight"] * norm
    return total


def block_of(block: nn.Module, level: np.ndarray, order: int) -> np.ndarray:
    w = weights(block)
    total = interaction_of(block, level, order)
    kept = level @ w["shortcut.weight"].T if "shortcut.weight" in w else level
    level = kept + softplus(total) @ w["output.weight"].T + w["output.bias"]
    for k in range(2):
        layer = {name: w[f"atom_layers.{k}.{name}"] for name in ("hidden.weight", "hidden.bias")}
        inner = softplus(level @ layer["hidden.weight"].T + layer["hidden.bias"])
        level = level + inner @ w[f"atom_layers.{k}.output.weight"].T
        level = level + w[f"atom_layers.{k}.output.bias"]
    return level


@pytest.mark.parametrize("order", [0, 1, 2])
def test_features_are_those_of_the_formulas(order) -> None:
    torch.manual_seed(order)
    sizes = {"features": 5, "n_sensitivities": 4, "atom_layers": 2, "tensor_order": order}
    backbone = HIPNN([1, 6, 8], HIPNN.Config(cutoff=CUTOFF, **sizes))
    backbone.to(torch.float64)
    level = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # O, H, C
    levels = [level]
    for block in backbone.blocks:
        levels.append(block_of(block, levels[-1], order))
    edge_index = torch.tensor(PAIRS).t()
    positions = torch.from_numpy(POSITIONS)
    vectors = positions[edge_index[1]] - positions[edge_index[0]]
    found = backbone(torch.tensor(NUMBERS), edge_index, vectors).detach().numpy()
    assert found.shape == (3, 13)
    np.testing.assert_allclose(found, np.concatenate(levels, 1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interactions": 0}, "interactions\n.*greater than 0"),
        ({"features": 0}, "features\n.*greater than 0"),
        ({"n_sensitivities": 1}, "n_sensitivities\n.*greater than 1"),
        ({"tensor_order": 3}, "tensor_order\n.*0, 1 or 2"),
        ({"shortest": 6.0}, r"0 < shortest < 4\.231"),
        ({"cutoff": -1.0}, "cutoff\n.*greater than 0"),
    ],
    ids=str,
)
def test_bad_settings_are_errors(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        HIPNN.Config(**settings)
