"""Both ways to a gradient that can be differentiated again agree, to the parameters' gradients."""

import pytest
import torch

from idle_md.data import GeometryTensors, load
from idle_md.nn import BACKBONES
from idle_md.train import parse_config
from idle_md.train import prediction as module
from idle_md.train.prediction import compiled_gradients, gradients, predict

COMPILABLE = ["painn", "gmnn"]


@pytest.fixture(scope="module")
def batches():
    store = load("chno-mini").select([0, 3000, 5000, 7000])
    tensors = GeometryTensors(store, 4.0, ["gfn2"], torch.float64)
    return [tensors.batch([0, 1]), tensors.batch([1, 2, 3])]


def loss_of(potential, energies, gradients) -> dict[str, torch.Tensor]:
    loss = energies.square().mean() + sum(
        k * g.square().mean() for k, g in enumerate(gradients, start=1)
    )
    loss.backward()
    found = {n: p.grad for n, p in potential.named_parameters() if p.grad is not None}
    potential.zero_grad()
    return {"loss": loss.detach(), **found}


def assert_agree(function, potential, batch, columns) -> None:
    graph = potential, batch.species, batch.edge_index, batch.edge_vectors, columns
    expected = gradients(*graph, create_graph=True)
    found = function(*graph)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        loss_of(potential, *found), loss_of(potential, *expected), rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("columns", [(0,), (0, 1), ()], ids=str)
@pytest.mark.parametrize("name", BACKBONES)
def test_pull_back_equals_autograd(make_potential, batches, name, columns) -> None:
    assert_agree(module._gradients, make_potential(name=name), batches[0], columns)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILABLE)
def test_compiled_equals_eager_at_any_size(make_potential, batches, name) -> None:
    for seed in (0, 1):  # a second member of an ensemble
        potential = make_potential(name=name, seed=seed)
        for batch in batches:
            assert_agree(compiled_gradients(), potential, batch, (0, 1))


@pytest.mark.slow
def test_compiled_forces_are_the_finite_differences_of_the_energy(make_potential, batches) -> None:
    potential, batch, step = make_potential(), batches[0], 1e-4
    forces = predict(potential, batch, [1], compiled=True).forces[1]
    for atom, axis in ((0, 0), (4, 2)):
        energies = []
        for sign in (1, -1):
            moved = batch.to("cpu")
            moved.positions = batch.positions.clone()
            moved.positions[atom, axis] += sign * step
            energies.append(predict(potential, moved, []).energies[:, 1].sum().item())
        numerical = -(energies[0] - energies[1]) / (2 * step)
        assert float(forces[atom, axis]) == pytest.approx(numerical, abs=1e-6)


def test_a_backbone_that_cannot_be_compiled_is_an_error(settings) -> None:
    for name in COMPILABLE:
        assert parse_config({**settings, "backbone": name, "compile": True}).compile
    with pytest.raises(ValueError, match="hipnn cannot be compiled"):
        parse_config({**settings, "backbone": "hipnn", "compile": True})


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "absent")
    compiled_gradients.cache_clear()
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler.*compile: false"):
        compiled_gradients()
    compiled_gradients.cache_clear()
