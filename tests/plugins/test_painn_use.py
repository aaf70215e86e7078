"""The native PaiNN in use: threads, files, memory, and the choice of kernels."""

import logging
import os
import subprocess
import sys
import threading

import pytest
import torch

from idle_md.deploy import load
from idle_md.deploy.torchscript import freeze, from_bytes, to_bytes
from idle_md.native import operators as native
from idle_md.native import places
from tests.plugins.systems import CUTOFF, Inputs, random_system


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
        damaged = tmp_path / places.LIBRARY
        damaged.write_bytes(b"no library")
        monkeypatch.setenv(places.VARIABLE, str(damaged))
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
