"""The kernels under the address and thread sanitizers, which find what is planted."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.plugins.cuda.conftest import sources
from tests.plugins.cuda.emulated import HERE, HOST_SOURCES, Shape, run

SHAPE = Shape("double", 48, 20, 9, False, 4, 64, 2)


class Sanitized:
    """A program that runs random systems through every kernel, built once but for the kernels."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.flags = [
            "-std=c++17",
            "-O1",
            "-g1",
            f"-fsanitize={kind}",
            f"-I{sources() / 'cuda'}",
            *SHAPE.macros(),
        ]
        self.folder = folder
        others = [HERE / "host.cpp", HERE / "sanitized.cpp"]
        others += [sources() / name for name in HOST_SOURCES]
        with ThreadPoolExecutor(2) as pool:
            self.objects = list(pool.map(lambda source: self.compiled(source, self.flags), others))

    def compiled(self, source: Path, flags: list[str]) -> str:
        made = str(self.folder / f"{source.stem}.o")
        run(["g++", *flags, "-c", str(source), "-o", made])
        return made

    def run(self, first: int, last: int, kernels: Path | None = None) -> str:
        """Run systems with kernels of the sources, or of another folder; return what is found."""
        flags = self.flags if kernels is None else [f"-I{kernels.parent}", *self.flags]
        program = self.folder / "program"
        kernel = self.compiled(HERE / "painn_kernels.cpp", flags)
        run(["g++", *self.flags, *self.objects, kernel, "-o", str(program)])
        done = subprocess.run([program, str(first), str(last)], capture_output=True, text=True)
        assert done.returncode == 0 or done.stderr
        return "" if done.returncode == 0 else done.stderr


def planted(folder: Path, file: str, old: str, new: str) -> Path:
    """Return a copy of the kernels with one mistake in it."""
    kernels = folder / "planted" / "kernels"
    shutil.copytree(sources() / "cuda" / "kernels", kernels)
    text = (kernels / file).read_text()
    head, found, tail = text.rpartition(old)
    assert found, f"{old!r} is not in {file}"
    (kernels / file).write_text(head + new + tail)
    return kernels


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Sanitized:
    return Sanitized("address", tmp_path_factory.mktemp("address"))


@pytest.fixture(scope="module")
def thread(tmp_path_factory) -> Sanitized:
    return Sanitized("thread", tmp_path_factory.mktemp("thread"))


def test_reads_and_writes_are_inside(address: Sanitized) -> None:
    assert address.run(0, 7) == ""


def test_barriers_are_where_they_must_be(thread: Sanitized) -> None:
    assert thread.run(0, 7) == ""


@pytest.mark.slow
def test_planted_read_outside_is_caught(address: Sanitized, tmp_path) -> None:
    kernels = planted(
        tmp_path, "messages.cuh", "args.start[my.atom + 1]", "args.start[my.atom + 2]"
    )
    assert "AddressSanitizer" in address.run(5, 7, kernels)


@pytest.mark.slow
def test_planted_lack_of_a_barrier_is_caught(thread: Sanitized, tmp_path) -> None:
    kernels = planted(tmp_path, "dense.cuh", "  __syncthreads();\n}\n\n// How", "}\n\n// How")
    assert "data race" in thread.run(5, 7, kernels)


@pytest.mark.slow
def test_more_systems(address: Sanitized, thread: Sanitized) -> None:
    assert address.run(7, 70) == ""
    assert thread.run(7, 70) == ""
