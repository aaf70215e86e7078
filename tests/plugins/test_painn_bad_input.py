"""The native operators on malformed inputs: each is an error that names it."""

import pytest
import torch

from idle_md.deploy import load
from tests.plugins.systems import CUTOFF, random_system


@pytest.mark.usefixtures("ops")
class TestBadInput:
    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, ops, model_file):
        model = load(model_file(dtype=torch.float32), kernels="native").core.gradient.model
        return lambda *inputs: torch.ops.idle_md.painn_energy_gradient(model, *inputs)

    @pytest.fixture
    def good(self) -> list:
        species, pairs, vectors, owned = random_system(20)
        assert len(vectors) > 3
        return [species, pairs, vectors.float(), owned]

    @pytest.mark.parametrize(
        ("position", "change", "message"),
        [
            (0, lambda x: x.int(), "int64"),
            (1, lambda x: x.int(), "int64"),
            (2, lambda x: x.double(), "the model is"),
            (0, lambda x: x[None], r"\(N,\)"),
            (0, lambda x: x.index_fill(0, torch.tensor([0]), 200), "atomic number 200"),
            (0, lambda x: -x, "atomic number -"),
            (1, lambda x: x.t(), r"\(2, E\)"),
            (1, lambda x: x.flip(1), "sort edges"),
            (1, lambda x: x + 1000, "not there"),
            (1, lambda x: x - 1000, "not there"),
            (1, lambda x: x[:, 1:], r"\(\d+, 3\)"),
            (2, lambda x: x[:, :2], r"\(\d+, 3\)"),
            (2, lambda x: x * torch.nan, "not finite"),
            (2, lambda x: x * torch.inf, "not finite"),
            (2, lambda x: x * 1e30, "not finite"),
            (2, lambda x: x * 0.0, "same position"),
            (3, lambda n: n + 100, "n_owned"),
            (3, lambda n: -1, "n_owned"),
        ],
    )
    def test_is_named(self, call, good, position, change, message) -> None:
        good[position] = change(good[position])
        with pytest.raises((ValueError, TypeError), match=message):
            call(*good)

    def test_strided_inputs_give_the_same(self, call, good) -> None:
        expected = [tensor.clone() for tensor in call(*good)]
        species, pairs, vectors, owned = good
        strided = (species.repeat_interleave(2)[::2], pairs.t().contiguous().t())
        found = call(*strided, vectors.t().contiguous().t(), owned)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))

    def test_other_devices_are_refused(self, call, good) -> None:
        good[0] = good[0].to("meta")
        with pytest.raises((ValueError, RuntimeError, NotImplementedError)):
            call(*good)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda w: w.pop("sent"), "sent is missing"),
            (lambda w: w.update(filter=w["filter"][:, 1:].contiguous()), "filter has shape"),
            (lambda w: w.update({"rest.mix": w["rest.mix"].double()}), "precision"),
            (lambda w: w.update(embedding=w["embedding"][:, :15].contiguous()), "multiple of 16"),
            (lambda w: w.update(embedding=w["embedding"].half()), "float32 or float64"),
            (lambda w: w.update({"basis.nodes": w["basis.nodes"][:1]}), "two radial functions"),
            (lambda w: w.update({"rest.mix": w["rest.mix"].t()}), "has shape"),
        ],
    )
    def test_wrong_weights_are_named(self, model_file, change, message) -> None:
        gradient = load(model_file(dtype=torch.float32), kernels="portable").core.gradient
        weights = {name: buffer.contiguous() for name, buffer in gradient.named_buffers()}
        change(weights)
        with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
            torch.classes.idle_md.PaiNN(weights, CUTOFF, True, False)

    @pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf")])
    def test_wrong_cutoff_is_named(self, model_file, cutoff) -> None:
        gradient = load(model_file(), kernels="portable").core.gradient
        with pytest.raises((ValueError, RuntimeError), match="cutoff"):
            torch.classes.idle_md.PaiNN(dict(gradient.named_buffers()), cutoff, True, False)


@pytest.mark.usefixtures("ops")
class TestEdgeForces:
    def test_forces_are_sums_over_edges(self) -> None:
        species, pairs, vectors, _ = random_system(29)
        n = len(species)
        expected = torch.zeros(n, 3, dtype=torch.float64)
        for (i, j), gradient in zip(pairs.t().tolist(), vectors, strict=True):
            expected[i] += gradient
            expected[j] -= gradient
        for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
            found = torch.ops.idle_md.edge_forces(vectors.to(dtype), pairs, n)
            assert found.dtype == torch.float64
            torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda g, e, n: (g.half(), e, n), "float32 or float64"),
            (lambda g, e, n: (g, e.int(), n), "int64"),
            (lambda g, e, n: (g[1:], e, n), r"\(\d+, 3\)"),
            (lambda g, e, n: (g, e[0], n), r"\(2, E\)"),
            (lambda g, e, n: (g, e, n - 60), "not there"),
            (lambda g, e, n: (g, e - 1, n), "not there"),
            (lambda g, e, n: (g, e, -1), "cannot be"),
        ],
    )
    def test_malformed_input_is_named(self, change, message) -> None:
        species, pairs, vectors, _ = random_system(29)
        with pytest.raises((ValueError, TypeError), match=message):
            torch.ops.idle_md.edge_forces(*change(vectors, pairs, len(species)))
