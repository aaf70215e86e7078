"""Launches on their way to a driver, which a library in its place runs on the host."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import include_paths

from tests.plugins.cuda.emulated import HERE, SOURCES, run

LIBRARIES = ("libcuda.so.1", "libnvrtc.so.13", "libtorch_cuda.so")
COMPILED = ("cuda/gpu.cpp", "cuda/libraries.cpp", "cuda/programs.cpp", "cuda/particles.cpp")


COMMON = ["g++", "-std=c++17", "-O1", f"-I{SOURCES / 'cuda'}"]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Path:
    """A folder with the libraries that are opened by name."""
    folder = tmp_path_factory.mktemp("driver")
    texts = 'constexpr const char* kernel_sources[][2] = {{"particles.cu", ""}};\n'
    (folder / "kernel_sources.hpp").write_text(texts)
    library = folder / LIBRARIES[0]
    run([*COMMON, "-shared", "-fPIC", str(HERE / "driver.cpp"), "-o", str(library)])
    for name in LIBRARIES[1:]:
        (folder / name).write_bytes(library.read_bytes())
    return folder


def compiled(name: str, folder: Path, sources: Sequence[str], flags: Sequence[str] = ()) -> Path:
    """Compile a program of this folder."""
    made = folder / name
    files = [str(HERE / f"{name}.cpp"), *(str(SOURCES / source) for source in sources)]
    run([*COMMON, f"-I{folder}", *flags, *files, "-o", str(made), "-ldl", "-pthread"])
    return made


@pytest.fixture(scope="module")
def program(libraries: Path) -> Path:
    """A program that launches kernels."""
    return compiled("through_driver", libraries, COMPILED)


@pytest.fixture(scope="module")
def lists(libraries: Path) -> Path:
    """A program that shares a list of neighbours; torch's tensors are on the host."""
    torch_libraries = Path(torch.__file__).parent / "lib"
    flags = [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    flags += [f"-isystem{path}" for path in include_paths()]
    flags += [f"-L{torch_libraries}", f"-Wl,-rpath,{torch_libraries}"]
    flags += ["-Wl,--no-as-needed", "-ltorch_cpu", "-lc10"]
    return compiled("in_threads", libraries, COMPILED, flags)


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


def test_evaluations_in_threads_do_not_share_edges(lists: Path, tmp_path) -> None:
    """One after the other, and on streams that run at the same time."""
    first, second, searches, here, there, crowded, roomy = lines_of(lists, lists.parent, tmp_path)
    assert (first, second) == ("first: its own", "second: its own")
    assert searches == "2 searches"
    assert (here, there) == ("here: its own", "there: its own")
    assert (crowded, roomy) == ("problem 4", "problem 0")
