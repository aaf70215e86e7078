"""What benchmarks/gpu/all.sh is to time on a GPU can be made there, where RDKit is not."""

import re
import sys
from pathlib import Path

import pytest

from idle_md.neighbors import neighbor_list

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_systems_of_every_size(monkeypatch) -> None:
    for name in ("systems", "structures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "rdkit", None)
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "gpu")
    from systems import system

    script = (BENCHMARKS / "gpu" / "all.sh").read_text()
    sizes = re.findall(r"\d+", " ".join(re.findall(r"sizes=\(([\d ]+)\)", script)))
    assert {"21", "49", "100", "774", "1000", "10000", "100000"} <= set(sizes)
    for size in {int(size) for size in sizes} - {100_000}:  # seconds
        atoms = system(size)
        assert len(atoms) == size
        assert atoms.pbc.all() == (size >= 1000)
        pairs, _ = neighbor_list(atoms.positions, 0.9, atoms.cell.array, atoms.pbc)
        assert pairs.shape == (2, 0)  # no atom is in another
    with pytest.raises(ImportError):
        from peers import structures  # noqa: F401
