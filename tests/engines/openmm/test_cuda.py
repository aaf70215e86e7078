"""What is said of OpenMM's platform CUDA, with stand-ins for installations."""

import importlib.metadata
import logging
from types import SimpleNamespace

import openmm
import pytest
import torch

from idle_md.deploy import load
from idle_md.engines import doctor
from idle_md.engines.openmm import backends, create_force
from idle_md.engines.openmm.dynamics import _check_device
from idle_md.engines.openmm.engine import OpenMMEngine
from idle_md.engines.openmm.force import _why_not_torchforce

OPENMM = openmm.Platform.getOpenMMVersion()
NO_DRIVER = "Error loading library /lib/plugins/libOpenMMCUDA.so: libcuda.so.1: cannot open"


def platforms(names=("Reference", "CPU"), failures=(), runs_torch_force=True) -> SimpleNamespace:
    """In the place of OpenMM's ``Platform``."""

    def platform(number: int) -> SimpleNamespace:
        return SimpleNamespace(
            getName=lambda: names[number],
            supportsKernels=lambda kernels: kernels == ["CalcTorchForce"] and runs_torch_force,
        )

    return SimpleNamespace(
        getOpenMMVersion=lambda: OPENMM,
        getNumPlatforms=lambda: len(names),
        getPlatform=platform,
        getPlatformByName=lambda name: platform(names.index(name)),
        getPluginLoadFailures=lambda: tuple(failures),
    )


@pytest.fixture
def installed(monkeypatch):
    """Put an installation in the place of this one."""

    known = importlib.metadata.version

    def install(packages: dict[str, str] | None = None, **described) -> None:
        monkeypatch.setattr(backends, "Platform", platforms(**described))
        monkeypatch.setattr(backends, "why_not", lambda backend: None)
        monkeypatch.setattr(backends, "load_openmmtorch", lambda: None)
        monkeypatch.setattr(torch.version, "cuda", "12.8")

        def version(name: str) -> str:
            if not name.startswith("OpenMM-CUDA"):
                return known(name)
            if name not in (packages or {}):
                raise importlib.metadata.PackageNotFoundError(name)
            return packages[name]

        monkeypatch.setattr(importlib.metadata, "version", version)

    return install


@pytest.mark.parametrize(
    ("installation", "platform", "torch_force"),
    [
        ({}, "not installed: pip install 'openmm[cuda12]==", "not installed"),
        ({"failures": [NO_DRIVER]}, "cannot be loaded: libcuda.so.1", "libcuda.so.1"),
        (
            {"names": ("CUDA",), "packages": {"OpenMM-CUDA-12": "8.1.0"}},
            f"OpenMM-CUDA-12 8.1.0 does not fit OpenMM {OPENMM}: pip install",
            "does not fit",
        ),
        (
            {"names": ("CUDA",), "runs_torch_force": False},
            None,
            "plug-in for OpenMM's platform CUDA is not there",
        ),
        ({"names": ("CPU", "CUDA"), "packages": {"OpenMM-CUDA-13": OPENMM}}, None, None),
    ],
    ids=["absent", "no driver", "another version", "no plug-in", "complete"],
)
def test_reasons(installed, installation, platform, torch_force) -> None:
    installed(**installation)
    for reason, expected in (
        (backends.why_no_platform(), platform),
        (backends.why_no_torch_force(), torch_force),
    ):
        assert reason is None if expected is None else expected in reason
    (finding,) = doctor._openmm_on_gpu()
    assert finding.state == ("note" if torch_force else "ok")
    way = "TorchForce" if torch_force is None else "PythonForce"
    assert f"through {way}" in finding.detail
    assert torch_force is None or torch_force in finding.detail


def test_a_torch_force_that_cannot_run_gets_no_model(installed) -> None:
    installed(names=("CUDA",), runs_torch_force=False)
    model = SimpleNamespace(device=torch.device("cuda"), uses_autograd=False)
    assert "plug-in for OpenMM's platform CUDA" in _why_not_torchforce(model)
    assert "plug-in for" in OpenMMEngine("torchforce", "cuda").why_not()
    assert OpenMMEngine("torchforce").why_not() is None
    assert OpenMMEngine("pythonforce", "cuda").why_not() is None
    assert _why_not_torchforce(SimpleNamespace(device=torch.device("cpu"))) is None


def test_a_slow_platform_is_warned_of(installed, model_file, caplog) -> None:
    installed()
    force = create_force(load(model_file()), [8, 1, 1], backend="pythonforce")
    setup = SimpleNamespace(deployed=SimpleNamespace(device=torch.device("cuda")), force=force)
    with caplog.at_level(logging.WARNING):
        _check_device("CUDA", setup)
        assert caplog.text == ""
        _check_device("CPU", setup)
    assert "platform CPU is slow beside a model on a GPU" in caplog.text
    assert "not installed" in caplog.text
