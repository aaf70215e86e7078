"""One place says which devices there are, and every entry asks it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.build
import ase.io
import pytest
import torch
from typer.testing import CliRunner

import idle_md
from idle_md.cli.main import app
from idle_md.devices import find_device, why_no_gpu
from idle_md.engines.md_settings import MDSettings
from idle_md.train import parse_config, processes, train

ETHANOL = ase.build.molecule("CH3CH2OH")
MISSING = "device 'cuda': torch .* sees no CUDA device: .*; leave device out for the CPU"
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Have torch say that it sees so many."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize("name", ["gpu", "mps", "meta", "cuda:x", "cpu:1", ""])
def test_unknown_device_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown device '{name}': use cpu, cuda, or cuda:1"):
        find_device(name)


def test_processor_is_always_there() -> None:
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")


@NO_GPU
def test_one_line_says_why_there_is_no_gpu() -> None:
    reason = why_no_gpu()
    assert reason is not None
    assert reason.startswith(f"torch {torch.__version__} sees no CUDA device: ")
    assert "\n" not in reason
    with pytest.raises(ValueError, match=MISSING):
        find_device("cuda")


def test_card_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 1)
    assert find_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match="device 'cuda:3': torch sees cuda:0 alone"):
        find_device("cuda:3")
    gpus(monkeypatch, 2)
    assert find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="device 'cuda:2': torch sees cuda:0 to cuda:1"):
        find_device("cuda:2")


def force(path: Path) -> None:
    pytest.importorskip("openmm")
    from idle_md.engines.openmm import create_force

    create_force(path, ETHANOL.numbers, device="cuda")


def plug_in(path: Path) -> None:
    from openmm import app as openmm_app

    topology = openmm_app.Topology()
    residue = topology.addResidue("ETH", topology.addChain())
    for symbol in ETHANOL.symbols:
        topology.addAtom("X", openmm_app.Element.getBySymbol(symbol), residue)
    mlpotential = pytest.importorskip("openmmml").MLPotential
    mlpotential("idle-md", modelPath=str(path), device="cuda").createSystem(topology)


def lammps(path: Path) -> None:
    from idle_md.engines.lammps.single_point import evaluate_lammps

    evaluate_lammps(path, ETHANOL, device="cuda")


def torch_sim(path: Path) -> None:
    pytest.importorskip("torch_sim")
    from idle_md.engines.torch_sim import TorchSimModel

    TorchSimModel(path, device="cuda")


def md(path: Path, engine: Any) -> None:
    from idle_md.engines.dynamics import run_md

    run_md(path, ETHANOL, MDSettings(engine=engine, steps=1, device="cuda"))


def check(path: Path) -> None:
    from idle_md.engines.parity.check import check_engines

    check_engines(path, {"ethanol": ETHANOL}, device="cuda")


def bench(path: Path) -> None:
    pytest.importorskip("openmm")
    from idle_md.engines.openmm.benchmark import bench_openmm

    bench_openmm(path, ETHANOL, device="cuda")


ENTRIES: dict[str, Callable[[Path], object]] = {
    "load": lambda path: idle_md.load(path, device="cuda"),
    "predict": lambda path: idle_md.predict(path, [ETHANOL], device="cuda"),
    "Calculator": lambda path: idle_md.Calculator(path, device="cuda"),
    "torch-sim": torch_sim,
    "create_force": force,
    "openmm-ml": plug_in,
    "LAMMPS": lammps,
    "OpenMM dynamics": lambda path: md(path, "openmm"),
    "LAMMPS dynamics": lambda path: md(path, "lammps"),
    "check": check,
    "bench": bench,
}


@NO_GPU
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_refuses(entry: str, model_file: Callable[[], Path]) -> None:
    with pytest.raises(ValueError, match=MISSING):
        ENTRIES[entry](model_file())


@NO_GPU
@pytest.mark.parametrize(
    "arguments",
    [
        ("md", "MODEL", "ethanol.xyz"),
        ("md", "MODEL", "ethanol.xyz", "--engine", "lammps"),
        ("check", "MODEL", "ethanol.xyz"),
        ("evaluate", "MODEL", "chno-mini"),
        ("bench", "openmm", "MODEL", "ethanol.xyz"),
        ("adapt", "idle-s", "chno-mini", "--fidelity", "wb97x", "--out", "run"),
    ],
)
def test_every_command_refuses(
    arguments: tuple[str, ...],
    model_file: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ase.io.write("ethanol.xyz", ETHANOL)
    command = [str(model_file()) if word == "MODEL" else word for word in arguments]
    result = CliRunner().invoke(app, [*command, "--device", "cuda"])
    assert isinstance(result.exception, ValueError)
    assert "sees no CUDA device" in str(result.exception)


@NO_GPU
def test_training_refuses_before_it_begins(
    make_settings: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    config = parse_config({**make_settings(tmp_path / "run"), "device": "cuda"})
    with pytest.raises(ValueError, match=MISSING):
        train(config)
    assert not (tmp_path / "run").exists()


class TestTraining:
    def test_takes_a_gpu_where_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gpus(monkeypatch, 2)
        assert processes.device(None) == processes.device("cuda") == torch.device("cuda:0")
        assert processes.device("cpu") == torch.device("cpu")
        assert processes.device("cuda:1") == torch.device("cuda:1")
        settings = processes.trainer_settings(torch.device("cuda:1"))
        assert settings == {"accelerator": "cuda", "devices": [1]}

    def test_runs_on_the_processor_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert processes.device(None) == torch.device("cpu")
        settings = processes.trainer_settings(torch.device("cpu"))
        assert settings == {"accelerator": "cpu", "devices": 1}

    def test_every_process_has_a_gpu_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Second:
            def local_rank(self) -> int:
                return 1

        gpus(monkeypatch, 2)
        monkeypatch.setattr(processes, "count", lambda: 2)
        monkeypatch.setattr(processes, "_launcher", Second)
        assert processes.device(None) == torch.device("cuda:1")
        with pytest.raises(ValueError, match="cuda:0 is one GPU for 2 processes: set `device: c"):
            processes.device("cuda:0")
        gpus(monkeypatch, 1)
        with pytest.raises(ValueError, match="device 'cuda:1': torch sees cuda:0 alone"):
            processes.device("cuda")
