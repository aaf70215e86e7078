"""Launches on their way to a driver, which a library in its place runs on the host."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.plugins.cuda.emulated import HERE, SOURCES, run

LIBRARIES = ("libcuda.so.1", "libnvrtc.so.13", "libtorch_cuda.so")
COMPILED = ("cuda/gpu.cpp", "cuda/libraries.cpp", "cuda/programs.cpp", "cuda/particles.cpp")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """A program that launches kernels, beside the libraries that it opens by name."""
    folder = tmp_path_factory.mktemp("driver")
    texts = 'constexpr const char* kernel_sources[][2] = {{"particles.cu", ""}};\n'
    (folder / "kernel_sources.hpp").write_text(texts)
    common = ["g++", "-std=c++17", "-O1", f"-I{SOURCES / 'cuda'}", f"-I{folder}"]
    library = folder / LIBRARIES[0]
    run([*common, "-shared", "-fPIC", str(HERE / "driver.cpp"), "-o", str(library)])
    for name in LIBRARIES[1:]:
        (folder / name).write_bytes(library.read_bytes())
    made = folder / "through_driver"
    sources = [str(HERE / "through_driver.cpp"), *(str(SOURCES / name) for name in COMPILED)]
    run([*common, *sources, "-ldl", "-o", str(made)])
    return made


def lines_of(program: Path, libraries: Path | str, cache: Path) -> list[str]:
    place = os.environ | {"LD_LIBRARY_PATH": str(libraries), "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([program], env=place, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_kernels_reach_the_driver(program: Path, tmp_path) -> None:
    no_torch, ready, device, vectors, forces, missing = lines_of(program, program.parent, tmp_path)
    assert no_torch == "this torch is not for CUDA"
    assert ready == ""
    assert device == "132 232448"
    pairs = [float(x) for x in vectors.split()]
    assert pairs[:6] == [10.0, 0.0, 0.0, 0.0, 20.0, 0.0]
    assert pairs[6:9] == [-10.0, 0.0, 0.0]
    summed = [float(x) for x in forces.split()]
    assert summed == [20.0, 40.0, 0.0, -40.0, 40.0, 0.0, 20.0, -80.0, 0.0]
    assert missing == "no_such_kernel: CUDA_ERROR"
    (kept,) = (tmp_path / "idle_md" / "cuda").iterdir()
    assert kept.read_bytes() == b"particles.cu\0"


def test_machine_without_a_driver_says_so(program: Path, tmp_path) -> None:
    first = lines_of(program, "", tmp_path)[0]
    assert first.startswith("NVIDIA's driver cannot be opened: libcuda.so.1")
