"""What is distributed: the wheel and the sdist hold what they need, and importing costs nothing."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 20_000_000  # bytes of a wheel
QUICK = 0.3  # seconds of processor time


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both, offline."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return folder


def test_wheel_is_small_and_has_models_data_and_sources(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    assert wheel.stat().st_size < LARGEST
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (ROOT / "idle_md").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    for path in [ROOT / "CMakeLists.txt", *(ROOT / "plugins").rglob("*")]:
        if path.is_file():
            assert f"idle_md/native/{path.relative_to(ROOT).as_posix()}" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


def test_sdist_has_what_the_wheel_is_made_of(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "CMakeLists.txt", "LICENSE", "mkdocs.yml", "docs/index.md"} <= names
    assert "idle_md/models/idle-s.ckpt" in names


def test_importing_takes_no_time() -> None:
    """The least of three: other work on the machine makes it longer."""
    code = "import time, idle_md; print(time.process_time())"
    command = [sys.executable, "-c", code]
    taken = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(3)
    ]
    assert min(taken) < QUICK
