"""The optimiser for weight matrices, against its definition by singular values."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idle_md.train.fit.muon import COEFFICIENTS, ITERATIONS, MOMENTUM, Muon, orthogonalized


def by_singular_values(matrix: Tensor) -> Tensor:
    """The same polynomial of the singular values, which an SVD gives."""
    u, values, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / values.square().sum().sqrt()
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        values = a * values + b * values**3 + c * values**5
    return u @ torch.diag(values) @ v


@pytest.mark.parametrize("shape", [(32, 32), (48, 33), (33, 96)])
def test_orthogonalized(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = orthogonalized(matrix)
    np.testing.assert_allclose(found, by_singular_values(matrix), atol=1e-12)
    values = torch.linalg.svdvals(found)[: min(shape) // 2]  # the smallest ones take longer
    assert ((values > 0.6) & (values < 1.3)).all()
    np.testing.assert_allclose(orthogonalized(1e-12 * matrix), found, rtol=1e-6, atol=1e-9)
    assert orthogonalized(torch.zeros(shape)).abs().max() == 0


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(40, 32)
        self.large = nn.Linear(32, 40)
        self.small = nn.Linear(40, 3)

    def loss(self) -> Tensor:
        rows = self.table(torch.arange(0, 40, 2))
        return self.small(torch.tanh(self.large(rows))).square().sum()


def test_matrices_move_by_muon_and_the_rest_by_adamw() -> None:
    network = Network().double()
    alone = copy.deepcopy(network)
    groups = [{"params": list(network.parameters()), "lr": 0.01, "weight_decay": 0.1}]
    optimizer = Muon(groups, [network.table.weight])
    adamw = torch.optim.AdamW(alone.parameters(), lr=0.01, weight_decay=0.1)
    matrix, momentum = alone.large.weight, torch.zeros(40, 32, dtype=torch.float64)
    for _ in range(4):
        for one, steps in ((network, optimizer), (alone, adamw)):
            steps.zero_grad()
            one.loss().backward()
        gradient, before = matrix.grad.clone(), matrix.detach().clone()
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        update = by_singular_values((1 - MOMENTUM) * gradient + MOMENTUM * momentum)
        optimizer.step()
        adamw.step()
        with torch.no_grad():
            matrix.copy_(before * (1 - 0.01 * 0.1) - 0.01 * 0.2 * 40**0.5 * update)
        for name, parameter in network.named_parameters():
            np.testing.assert_allclose(
                parameter.detach(), alone.get_parameter(name).detach(), atol=1e-10, err_msg=name
            )
        assert network.large.weight.grad is not None


def test_what_is_saved_goes_on_alike() -> None:
    def steps(n: int, network: Network, state: dict | None = None) -> dict:
        optimizer = Muon([{"params": list(network.parameters()), "lr": 0.01}])
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(n):
            optimizer.zero_grad()
            network.loss().backward()
            optimizer.step()
        return optimizer.state_dict()

    whole, parts = Network(), Network()
    steps(6, whole)
    steps(3, parts, copy.deepcopy(steps(3, parts)))
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
