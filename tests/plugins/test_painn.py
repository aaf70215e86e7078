"""The native PaiNN against the portable graph of the same file, and on malformed inputs."""

import logging
import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from idle_md.deploy import load, native
from idle_md.deploy.torchscript import freeze, from_bytes, to_bytes
from idle_md.neighbors import neighbor_list
from idle_md.testing import Invariants, Subject, Symmetries, isolated_energies, model_evaluator

SETTINGS = [
    {"interactions": 1},
    {"interactions": 2, "features": 48, "radial": "gaussian"},
    {"interactions": 3, "features": 32, "hidden": 20},
    {"interactions": 2, "hidden": 0},
]
ELEMENTS = [1, 6, 7, 8]
CUTOFF = 4.0
Inputs = tuple[Tensor, Tensor, Tensor, int]


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def settings(request) -> dict:
    return request.param


def both(path, dtype) -> tuple[torch.jit.ScriptModule, torch.jit.ScriptModule]:
    """The portable and the native core of a file."""
    models = [load(path, dtype=dtype, kernels=kernels) for kernels in ("portable", "native")]
    assert [model.kernels for model in models] == ["portable", "native"]
    return models[0].core, models[1].core


def random_system(seed: int) -> Inputs:
    """Open, periodic, ghost-trimmed and arbitrary systems, among them empty and single atoms."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([0, 1, 2, 3, 7, 20, 33, 70]))
    species = rng.choice(ELEMENTS, n)
    kind = seed % 4
    owned = n if kind in (0, 1) else int(rng.integers(0, n + 1))
    if kind == 3 and n:
        count = int(rng.integers(0, 12 * n))
        pairs = rng.integers(0, n, (2, count))
        pairs = pairs[:, np.argsort(pairs[0], kind="stable")]
        vectors = rng.normal(size=(count, 3))
        vectors *= rng.uniform(0.7, 1.3 * CUTOFF, (count, 1)) / np.linalg.norm(
            vectors, axis=1, keepdims=True
        )
    else:
        side = max(1.3, (11.0 * max(n, 1)) ** (1 / 3))
        cell = np.diag([side, 1.1 * side, side]) + np.triu(rng.uniform(-0.5, 0.5, (3, 3)), 1)
        positions = apart(rng, n, cell)
        pairs, shifts = neighbor_list(positions, CUTOFF, cell, kind == 1)
        vectors = positions[pairs[1]] - positions[pairs[0]] + shifts
        if kind == 2:  # as LAMMPS trims: nothing arrives at most of the ghosts
            keep = pairs[0] < (owned + n) // 2
            pairs, vectors = pairs[:, keep], vectors[keep]
    tensors = (torch.from_numpy(np.ascontiguousarray(pairs)), torch.from_numpy(vectors))
    return torch.from_numpy(species), *tensors, owned


def apart(rng, n: int, cell) -> np.ndarray:
    """Random points in a cell, no two of them very close."""
    points: list[np.ndarray] = []
    while len(points) < n:
        point = rng.uniform(size=3) @ cell
        if all(np.linalg.norm(point - other) > 0.7 for other in points):
            points.append(point)
    return np.array(points).reshape(-1, 3)


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
            largest = max(0.1, float(expected[1].abs().max())) if len(vectors) else 1.0
            error = float((found[1] - expected[1]).abs().max()) if len(vectors) else 0.0
            assert error <= 1e-5 * largest

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
class TestNativeModelInFloat32(Symmetries):
    @pytest.fixture(scope="class", params=SETTINGS[:3], ids=str)
    @classmethod
    def subject(cls, ops, model_file, make_potential, request) -> Subject:
        settings = {**request.param, "dtype": torch.float32}
        model = load(model_file(**settings), kernels="native")
        energies = isolated_energies(make_potential(**settings), "high")
        return Subject(model_evaluator(model), ELEMENTS, CUTOFF, energies, torch.float32)


@pytest.mark.usefixtures("ops")
class TestUse:
    @pytest.fixture(scope="class")
    @classmethod
    def core(cls, ops, model_file) -> torch.jit.ScriptModule:
        return load(model_file(dtype=torch.float32, interactions=3), kernels="native").core

    @pytest.fixture(scope="class")
    @classmethod
    def system(cls) -> Inputs:
        species, pairs, vectors, owned = random_system(29)
        assert len(species) > 30
        return species, pairs, vectors.float(), owned

    def test_threads_change_no_bit(self, core, system) -> None:
        species, pairs, vectors, owned = random_system(33)
        big = [
            torch.cat([pairs + k * len(species) for k in range(5)], 1),
            vectors.float().repeat(5, 1),
        ]
        results = []
        before = torch.get_num_threads()
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append([x.clone() for x in core(species.repeat(5), *big, owned)])
        torch.set_num_threads(before)
        for found in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found, results[0], strict=True))

    def test_saved_frozen_and_loaded_again(self, core, system) -> None:
        expected = [tensor.clone() for tensor in core(*system)]
        for module in (
            from_bytes(to_bytes(core)),
            freeze(core),
            from_bytes(to_bytes(freeze(core))),
        ):
            found = module(*system)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))

    def test_memory_of_results_is_used_again_once_they_are_gone(self, core, system) -> None:
        first = core(*system)[1]
        place, kept = first.data_ptr(), first.clone()
        second = core(*system)[1]
        assert second.data_ptr() != place
        assert torch.equal(first, kept)
        row = second[0]
        place = second.data_ptr()
        del first, second
        assert core(*system)[1].data_ptr() != place  # a part of the last one is still held
        del row
        place = core(*system)[1].data_ptr()
        assert core(*system)[1].data_ptr() == place

    def test_several_threads_share_a_model(self, core, system) -> None:
        expected = [tensor.clone() for tensor in core(*system)]
        wrong = []

        def work() -> None:
            for _ in range(50):
                found = core(*system)
                if not all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)):
                    wrong.append(found)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_padded_and_distant_edges_change_nothing(self, core, system) -> None:
        species, pairs, vectors, owned = system
        expected = [tensor.clone() for tensor in core(*system)]
        last = len(species) - 1
        padding = torch.tensor([[CUTOFF, 0, 0], [0, 1e3, 0], [3, 3, 3]])
        more = torch.cat([pairs, torch.tensor([[last] * 3, [0, 1, last]])], 1)
        energies, gradients = core(species, more, torch.cat([vectors, padding]), owned)
        assert torch.equal(energies, expected[0])
        assert torch.equal(gradients[:-3], expected[1])
        assert not gradients[-3:].any()


@pytest.mark.usefixtures("ops")
class TestBadInput:
    """Whatever the operator is given, it raises or answers; it never ends the process."""

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

    def test_twenty_thousand_random_inputs(self, call, good) -> None:
        rng, answered, began = random.Random(0), 0, time.monotonic()
        for _ in range(20_000):
            inputs = list(good)
            for _ in range(rng.randint(1, 2)):
                position = rng.randrange(4)
                inputs[position] = mutated(inputs[position], rng)
            try:
                energies, gradients = call(*inputs)
            except (ValueError, TypeError, RuntimeError):
                continue
            answered += 1
            assert energies.shape == inputs[0].shape
            assert gradients.shape == inputs[2].shape
            if set(inputs[0].tolist()) <= set(ELEMENTS):  # another one gives NaN, as it should
                assert bool(gradients.isfinite().all())
        assert 1_000 < answered < 19_000
        assert time.monotonic() - began < 120


def mutated(value, rng: random.Random):
    """Return another input, legal or not."""
    if not isinstance(value, Tensor):
        return rng.choice([0, 1, value, -1, 10**6, -(2**62), 2**62])
    if value.numel() == 0 or value.dtype not in (torch.int64, torch.float32):
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
        return changed.to(rng.choice([torch.int32, torch.float64, torch.float16, torch.bool]))
    elif action == 7:
        return changed[..., ::2]
    else:
        return changed.reshape(-1)
    return changed


class TestChoice:
    def test_without_the_library_models_run_on_the_portable_graph(
        self, model_file, monkeypatch, caplog
    ) -> None:
        monkeypatch.setattr(native, "find_library", lambda: None)
        native.load_operators.cache_clear()
        with caplog.at_level(logging.INFO):
            model = load(model_file())
        assert model.kernels == "portable"
        assert caplog.text.count("idle-md build-plugins") >= 1
        with pytest.raises(ValueError, match="build-plugins"):
            load(model_file(), kernels="native")
        native.load_operators.cache_clear()

    def test_a_damaged_library_is_named(self, tmp_path, monkeypatch, caplog) -> None:
        damaged = tmp_path / native.LIBRARY
        damaged.write_bytes(b"no library")
        monkeypatch.setenv(native.VARIABLE, str(damaged))
        native.load_operators.cache_clear()
        assert not native.load_operators()
        assert str(damaged) in caplog.text
        native.load_operators.cache_clear()

    @pytest.mark.usefixtures("ops")
    def test_native_operators_are_taken_where_they_are(self, model_file, caplog) -> None:
        with caplog.at_level(logging.INFO):
            assert load(model_file()).kernels == "native"
        assert "native operators" in caplog.text

    @pytest.mark.usefixtures("ops")
    def test_what_has_none_is_told(self, model_file) -> None:
        with pytest.raises(ValueError, match="none for hipnn"):
            load(model_file(name="hipnn"), kernels="native")
        assert load(model_file(name="gmnn")).kernels == "portable"
        with pytest.raises(ValueError, match="unknown kernels"):
            load(model_file(), kernels="fast")

    @pytest.mark.usefixtures("ops")
    @pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
    def test_every_instruction_set_gives_the_same(self, model_file, isa, tmp_path) -> None:
        path = model_file(interactions=3)
        inputs = random_system(29)
        expected = load(path, kernels="portable").core(*inputs)
        torch.save(inputs, tmp_path / "inputs.pt")
        script = (
            "import sys, torch\n"
            "from idle_md.deploy import load\n"
            f"inputs = torch.load({str(tmp_path / 'inputs.pt')!r})\n"
            f"core = load({str(path)!r}, kernels='native').core\n"
            f"torch.save(core(*inputs), {str(tmp_path / 'out.pt')!r})\n"
            "print(torch.ops.idle_md.instruction_set())\n"
        )
        environment = {**os.environ, "IDLE_MD_ISA": isa}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        if run.stdout.strip() != isa:
            pytest.skip(f"this processor has no {isa}")
        for found, wanted in zip(torch.load(tmp_path / "out.pt"), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
