"""The native PaiNN against the portable graph of the same file."""

import pytest
import torch

from idle_md.deploy import DeployedModel, load
from idle_md.testing import (
    Invariants,
    OwnedAtoms,
    Subject,
    Symmetries,
    isolated_energies,
    model_evaluator,
)
from tests.plugins.systems import CUTOFF, ELEMENTS, random_system

SETTINGS = [
    {"interactions": 1},
    {"interactions": 2, "features": 48, "radial": "gaussian"},
    {"interactions": 3, "features": 32, "hidden": 20},
    {"interactions": 2, "hidden": 0},
]


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def settings(request) -> dict:
    return request.param


def both(path, dtype) -> tuple[torch.jit.ScriptModule, torch.jit.ScriptModule]:
    """The portable and the native core of a file."""
    models = [load(path, dtype=dtype, kernels=kernels) for kernels in ("portable", "native")]
    assert [model.kernels for model in models] == ["portable", "native"]
    return models[0].core, models[1].core


@pytest.mark.usefixtures("ops")
class TestAgainstPortable:
    def test_float64(self, model_file, make_potential, settings) -> None:
        portable, kernel = both(model_file(**settings), torch.float64)
        for seed in range(200):
            species, pairs, vectors, owned = random_system(seed)
            expected = portable(species, pairs, vectors, owned)
            found = kernel(species, pairs, vectors, owned)
            difference = (found[0] - expected[0])[:owned].abs()
            scale = expected[0][:owned].abs().clamp(min=1.0)
            assert bool((difference <= 1e-12 * scale).all())
            largest = float(expected[1].abs().max()) if len(vectors) else 0.0
            error = float((found[1] - expected[1]).abs().max()) if len(vectors) else 0.0
            assert error <= 1e-10 * largest

    def test_float32(self, model_file, settings) -> None:
        path = model_file(**settings, dtype=torch.float32)
        exact, _ = both(path, torch.float64)
        _, kernel = both(path, torch.float32)
        for seed in range(200):
            species, pairs, vectors, owned = random_system(seed)
            expected = exact(species, pairs, vectors.float().double(), owned)
            found = kernel(species, pairs, vectors.float(), owned)
            assert found[0].dtype == torch.float64
            assert found[1].dtype == torch.float32
            assert float((found[0] - expected[0])[:owned].abs().sum()) <= 1e-5 * max(owned, 1)
            if len(vectors) == 0:
                continue
            largest = max(0.1, float(expected[1].abs().max()))
            assert float((found[1] - expected[1]).abs().max()) <= 1e-5 * largest

    @pytest.mark.parametrize("radial", ["bessel", "gaussian"])
    def test_tables_of_filters_keep_their_bound(self, model_file, radial) -> None:
        """Energies to 1e-6 relative, and as good gradients, in float64: tables differ alone."""
        path = model_file(features=64, n_radial=20, radial=radial)
        exact, _ = both(path, torch.float64)
        weights = {k: v.contiguous() for k, v in exact.gradient.named_buffers()}
        tabulated = torch.classes.idle_md.PaiNN(weights, CUTOFF, radial == "bessel", True)
        for seed in range(0, 200, 8):
            inputs = random_system(seed)
            if len(inputs[2]) == 0:
                continue
            found = torch.ops.idle_md.painn_energy_gradient(tabulated, *inputs)
            expected = exact(*inputs)
            nothing = exact(inputs[0], inputs[1][:, :0], inputs[2][:0], inputs[3])[0]
            references = exact.constants[inputs[0]]
            error = (found[0] + references - expected[0])[: inputs[3]]
            size = (expected[0] - nothing)[: inputs[3]]
            assert float(error.norm()) <= 1e-6 * float(size.norm())
            assert float((found[1] - expected[1]).norm()) <= 3e-6 * float(expected[1].norm())

    def test_committee(self, committee_file) -> None:
        portable, kernel = both(committee_file(), torch.float64)
        species, pairs, vectors, owned = random_system(5)
        for expected, found in (
            (portable(species, pairs, vectors, owned), kernel(species, pairs, vectors, owned)),
            (
                portable.members(species, pairs, vectors, owned),
                kernel.members(species, pairs, vectors, owned),
            ),
        ):
            for mine, other in zip(found, expected, strict=True):
                torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-11)


@pytest.mark.usefixtures("ops")
class TestNativeModel(Invariants):
    @pytest.fixture(scope="class", params=SETTINGS, ids=str)
    @classmethod
    def subject(cls, ops, model_file, make_potential, request) -> Subject:
        model = load(model_file(**request.param), kernels="native")
        energies = isolated_energies(make_potential(**request.param), "high")
        return Subject(model_evaluator(model), ELEMENTS, CUTOFF, energies)


@pytest.mark.usefixtures("ops")
class TestNativeParts(OwnedAtoms):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, ops, model_file) -> DeployedModel:
        return load(model_file(), kernels="native")


@pytest.mark.usefixtures("ops")
class TestNativeModelInFloat32(Symmetries):
    @pytest.fixture(scope="class", params=SETTINGS[:3], ids=str)
    @classmethod
    def subject(cls, ops, model_file, make_potential, request) -> Subject:
        settings = {**request.param, "dtype": torch.float32}
        model = load(model_file(**settings), kernels="native")
        energies = isolated_energies(make_potential(**settings), "high")
        return Subject(model_evaluator(model), ELEMENTS, CUTOFF, energies, torch.float32)
