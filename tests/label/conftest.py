import os
from collections.abc import Iterator
from pathlib import Path

import ase.build
import numpy as np
import pytest

from idle_md.data import from_atoms
from idle_md.label.cluster import workers
from tests.packages import install

ADDED_LEVELS = '''
import os, signal, time
import numpy as np
from idle_md.fidelity import LevelOfTheory
from idle_md.label import LabelError, Result

class Spring:
    """Energy and forces of springs to the origin; what it does beside is in the name."""

    def __init__(self, name):
        self.name = name
        self.theory = LevelOfTheory(method="springs", program="springs", version="1.0")

    def calculate(self, atoms, charge, unpaired):
        if self.name == "slow":
            time.sleep(0.02)
        if self.name == "deadly" and len(atoms) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.name == "picky" and atoms.positions[0, 0] > 0:
            raise LabelError("not on this side: 12.5 angstrom")
        if self.name == "buggy":
            raise KeyError("oh")
        energy = 0.5 * (atoms.positions**2).sum()
        return Result(np.nan if self.name == "nan" else energy, -atoms.positions)
'''
NAMES = ("spring", "slow", "deadly", "picky", "buggy", "nan")


@pytest.fixture(scope="session")
def added_levels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Levels by entry points, as a third party would add them, here and in all workers."""
    folder = tmp_path_factory.mktemp("site")
    lines = "".join(f"{name} = springs:Spring\n" for name in NAMES)
    install(folder, "springs", ADDED_LEVELS, f"[idle_md.levels]\n{lines}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session")
def scheduler(added_levels) -> Iterator[str]:
    """Address of a running scheduler with two workers."""
    with workers(2, None) as client:
        yield client.cluster.scheduler_address


@pytest.fixture
def make_store(tmp_path: Path):
    """A store of water and methane, displaced at random."""

    def make(n: int, name: str = "store.h5", molecules: tuple[str, ...] = ("H2O", "CH4")) -> Path:
        rng = np.random.default_rng(0)
        images = [ase.build.molecule(molecules[k % len(molecules)]) for k in range(n)]
        for atoms in images:
            atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
        path = tmp_path / name
        from_atoms(images, [molecules[k % len(molecules)] for k in range(n)]).write(path)
        return path

    return make
