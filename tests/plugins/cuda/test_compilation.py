"""The kernels compiled by NVRTC, for architectures that need not be at hand."""

import logging
import re
from pathlib import Path

import pytest
import torch

from idle_md import deploy
from idle_md.deploy.kernels import why_portable
from idle_md.engines import doctor
from idle_md.native import operators
from tests.plugins.cuda.emulated import Shape

HOT = {"messages", "first_messages", "reverse_messages", "reverse_first_messages", "keep_edges"}
HOT |= {"update", "top", "reverse_update", "edge_gradients"}
SHAPES = {
    "few atoms": Shape("float", 128, 64, 6, True, 1, 512, 4),
    "many atoms": Shape("float", 128, 64, 6, True, 16, 256, 1),
    "TF32": Shape("float", 128, 64, 6, True, 16, 256, 1, True),
}
MORE_SHAPES = [
    *(Shape("float", 128, 64, 6, True, 2**n, 512 if n < 3 else 256, 2) for n in range(5)),
    Shape("float", 64, 0, 6, True, 16, 256, 1),
    Shape("float", 64, 32, 6, True, 16, 256, 1, True),
    Shape("float", 256, 128, 6, True, 8, 256, 1),
]
PROPERTIES = re.compile(
    r"Compiling entry function 'idle_md_(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "idle_md" / "cuda"


@pytest.fixture(scope="module")
def nvrtc(ops) -> None:
    if torch.version.cuda is None:
        pytest.skip("this torch brings no NVRTC")


def assembled(program: str, architecture: int, options: list[str]) -> dict[str, tuple[int, int]]:
    """Bytes that are spilled and registers, by kernel."""
    log = torch.ops.idle_md.compile_cuda(program, architecture, options)
    return {
        name: (int(stores) + int(loads), int(registers))
        for name, stores, loads, registers in PROPERTIES.findall(log)
    }


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("architecture", [80, 90])
class TestSpills:
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    def test_painn(self, architecture: int, shape: Shape) -> None:
        found = assembled("painn.cu", architecture, shape.macros())
        assert found.keys() >= HOT
        spilled = {name: each for name, each in found.items() if each[0]}
        assert spilled == {}
        messages = max(found[name][1] for name in HOT if "messages" in name)
        assert messages <= 64  # registers, so that 32 warps or more fit a processor
        assert max(found[name][1] for name in HOT) <= 128

    def test_particles(self, architecture: int) -> None:
        found = assembled("particles.cu", architecture, [])
        assert {"search", "move_points_float", "sum_forces_float_double"} <= found.keys()
        assert not any(spilled for spilled, _ in found.values())


@pytest.mark.usefixtures("nvrtc")
def test_double_precision_compiles() -> None:
    radial = Shape("double", 128, 64, 21, False, 4, 512, 4)
    for shape in (radial, Shape("double", 16, 0, 6, True, 16, 256, 1)):
        assert assembled("painn.cu", 90, shape.macros()).keys() >= HOT


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("shape", MORE_SHAPES, ids=str)
def test_nothing_is_spilled_in_other_sizes(shape: Shape) -> None:
    for architecture in (80, 90):
        found = assembled("painn.cu", architecture, shape.macros())
        assert {name: each for name, each in found.items() if each[0]} == {}


@pytest.mark.usefixtures("nvrtc")
def test_cache_is_by_source_architecture_and_version(empty_cache: Path) -> None:
    compile_cuda = torch.ops.idle_md.compile_cuda
    assert compile_cuda("particles.cu", 90, []) != ""
    assert compile_cuda("particles.cu", 90, []) == ""  # nothing was compiled
    (kept,) = empty_cache.iterdir()
    assert "-sm_90-nvrtc-" in kept.name
    assert kept.read_bytes().startswith(b"\x7fELF")
    assert compile_cuda("particles.cu", 80, []) != ""
    assert compile_cuda("particles.cu", 90, ["-DANOTHER"]) != ""
    assert len(list(empty_cache.iterdir())) == 3
    assert compile_cuda("particles.cu", 1000, []) != ""  # for the driver
    (newest,) = empty_cache.glob("*-sm_1000-*")
    assert b".target sm_" in newest.read_bytes()


@pytest.mark.usefixtures("nvrtc")
def test_what_is_not_there_is_named() -> None:
    with pytest.raises(RuntimeError, match="no kernels nothing"):
        torch.ops.idle_md.compile_cuda("nothing.cu", 90, [])
    with pytest.raises(RuntimeError, match="IDLE_MD_REAL"):
        torch.ops.idle_md.compile_cuda("painn.cu", 90, [])
    with pytest.raises(RuntimeError, match="as old as sm_20"):
        torch.ops.idle_md.compile_cuda("particles.cu", 20, [])


@pytest.mark.usefixtures("ops")
class TestWithoutGPU:
    @pytest.fixture(autouse=True)
    def no_gpu(self) -> None:
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")

    def test_one_line_says_why(self) -> None:
        assert "sees no CUDA device" in operators.why_no_cuda()
        assert torch.ops.idle_md.cuda_problem() != ""
        findings = {finding.what: finding for finding in doctor.examine()}
        finding = findings["native operators on a GPU"]
        assert finding.state == "note"
        assert "not used: torch" in finding.detail

    def test_log_says_what_runs(self, model_file, caplog) -> None:
        path = model_file(features=16)
        metadata = deploy.read_metadata(path)
        reason = why_portable(metadata, torch.device("cuda"))
        assert "sees no CUDA device" in reason
        with caplog.at_level(logging.INFO):
            deploy.load(path)
        assert "runs on native operators" in caplog.text
