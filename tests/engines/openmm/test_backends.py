"""Backends that are tried in a process of their own."""

import logging
import sys
from functools import lru_cache, partial
from types import SimpleNamespace

import openmm
import pytest
import torch

from idle_md.deploy import load
from idle_md.engines.openmm import PythonComputation, backend_of, backends, create_force
from idle_md.engines.openmm.module import Attachment

NUMBERS = [8, 1, 1]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Answers of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    backends._probed.cache_clear()
    yield tmp_path / "cache" / "idle_md"
    backends._probed.cache_clear()


def put_in_place(monkeypatch, tmp_path, code: str) -> None:
    """Have this as openmmtorch."""
    (tmp_path / "openmmtorch.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openmmtorch", raising=False)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise ImportError('undefined symbol')", "undefined symbol"),
        ("raise OSError('libnvrtc.so.12')", "libnvrtc.so.12"),
        ("import os; os.kill(os.getpid(), 11)", r"crashes beside torch .* \(signal 11\)"),
        ("import sys; sys.exit(3)", "without a message"),
    ],
)
def test_broken_openmmtorch_falls_back(
    model_file, monkeypatch, tmp_path, caplog, code, problem
) -> None:
    put_in_place(monkeypatch, tmp_path, code)
    probe = lru_cache(partial(backends._probe, "torchforce"))
    monkeypatch.setattr(backends, "_probe", lambda backend: probe())  # both classes are as broken
    with caplog.at_level(logging.INFO, logger="idle_md"):
        force = create_force(model_file(), NUMBERS)
    assert backend_of(force) == "pythonforce"
    with pytest.raises(ImportError, match=rf"{problem}.*constraints/torchforce\.txt"):
        create_force(model_file(), NUMBERS, backend="torchforce")
    assert "TorchForce cannot be used" in caplog.text


def test_an_installation_is_tried_once(monkeypatch, tmp_path, cache) -> None:
    put_in_place(monkeypatch, tmp_path, "raise ImportError('broken')")
    assert "broken" in backends.why_not("torchforce")
    assert [file.suffix for file in cache.iterdir()] == [".json"]
    backends._probed.cache_clear()
    monkeypatch.setattr(backends.subprocess, "run", None)
    assert "broken" in backends.why_not("pythontorchforce")
    for file in cache.iterdir():
        file.write_text("{")  # a damaged answer is no answer
    backends._probed.cache_clear()
    with pytest.raises(TypeError):
        backends.why_not("torchforce")


def test_answer_of_a_busy_machine_is_not_kept(monkeypatch, tmp_path, cache) -> None:
    put_in_place(monkeypatch, tmp_path, "import time; time.sleep(60)")
    monkeypatch.setattr(backends, "SECONDS", 0.1)
    assert backends.why_not("torchforce") == backends.TOO_LONG
    assert list(cache.glob("*")) == []


def test_missing_openmmtorch_is_said(monkeypatch) -> None:
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert "openmmtorch is not installed beside torch" in backends.why_not("torchforce")
    assert backends.choose("auto") == "pythonforce"


def test_python_torch_force_gets_tensors(model_file, monkeypatch) -> None:
    """No release has it: what it would be given is called with what it would call it with."""

    class PythonTorchForce(openmm.PythonForce):
        def __init__(self, computation) -> None:
            super().__init__(lambda state: computation)
            self.computation = computation

    newer = SimpleNamespace(PythonTorchForce=PythonTorchForce)
    monkeypatch.setattr(backends, "load_openmmtorch", lambda: newer)
    monkeypatch.setattr(backends, "why_not", lambda each: "no" if each == "torchforce" else None)
    force = create_force(model_file(), NUMBERS)
    assert backend_of(force) == "pythontorchforce"
    positions = 0.1 * torch.rand(3, 3, dtype=torch.float32)
    energy, forces = force.computation(None, positions)
    assert (forces.dtype, forces.shape) == (torch.float32, (3, 3))
    model = load(model_file())
    module = Attachment(NUMBERS, [0, 1, 2], periodic=False).script(model)
    assert float(energy) == float(PythonComputation(module, model.device)(None, positions)[0])
