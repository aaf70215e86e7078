"""What a killed compilation leaves behind does not stop later trainings."""

import ctypes
import os
import shutil
import subprocess
import time

import pytest

from idle_md.train import compiler_cache
from idle_md.train.compiler_cache import is_cut_off, remove_half_written
from idle_md.train.prediction import compiled_gradients

OLD = time.time() - 3600


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with a library in a folder of it."""
    if shutil.which("g++") is None:
        pytest.skip("no compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    (tmp_path / "ab").mkdir()
    source = tmp_path / "two.cpp"
    source.write_text('extern "C" int two() { return 2; }')
    for name, flags in (("two.o", ["-c"]), ("two.so", ["-shared", "-fPIC"])):
        command = ["g++", *flags, str(source), "-o", str(tmp_path / "ab" / name)]
        subprocess.run(command, check=True)
    return tmp_path / "ab"


def test_whole_files_stay(cache) -> None:
    remove_half_written()
    assert ctypes.CDLL(str(cache / "two.so")).two() == 2
    assert (cache / "two.o").exists()


@pytest.mark.parametrize("name", ["two.o", "two.so"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_what_is_cut_off_goes(cache, name, share) -> None:
    file = cache / name
    os.truncate(file, int(share * file.stat().st_size))
    assert is_cut_off(file)
    os.utime(file, (OLD, OLD))
    remove_half_written()
    assert sorted(each.name for each in cache.iterdir()) == sorted({"two.o", "two.so"} - {name})


def test_what_is_being_written_is_waited_for(cache, monkeypatch) -> None:
    file, waited = cache / "two.so", []
    whole = file.read_bytes()
    os.truncate(file, 100)

    def write(seconds: float) -> None:
        waited.append(seconds)
        file.write_bytes(whole)

    monkeypatch.setattr(compiler_cache.time, "sleep", write)
    remove_half_written()
    assert file.read_bytes() == whole
    assert len(waited) == 1


def test_before_anything_is_compiled(cache) -> None:
    os.truncate(cache / "two.so", 0)
    os.utime(cache / "two.so", (OLD, OLD))
    compiled_gradients.cache_clear()
    compiled_gradients()
    compiled_gradients.cache_clear()
    assert not (cache / "two.so").exists()
