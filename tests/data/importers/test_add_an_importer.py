"""An importer of another package: one function and one entry point."""

import sys

import numpy as np
import pytest

from idle_md.data import import_data
from idle_md.units import HARTREE
from tests.packages import install

READER = """
import ase.io
import numpy as np

from idle_md.data import from_atoms
from idle_md.data.importers.contents import Contents, labelled


def read_titled(path, request):
    frames = ase.io.read(path, ":", format="xyz")
    energies = np.array([float(line) for line in path.read_text().splitlines()[1::5]])
    bare = from_atoms(frames, ["water"] * len(frames))
    store = labelled(path, bare, {request.fidelity: energies}, {})
    return Contents(store, energy_unit="hartree", length_unit="angstrom")
"""


def test_format_of_another_package_is_read_and_its_units_are_converted(
    tmp_path, monkeypatch
) -> None:
    install(tmp_path, "titled", READER, "[idle_md.importers]\ntitled = titled:read_titled\n")
    monkeypatch.syspath_prepend(tmp_path)
    water = "3\n-76.40\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
    path = tmp_path / "set.txt"
    path.write_text(water + water.replace("-76.40", "-76.41"))
    store = import_data(path, "titled", fidelity="mp2")
    assert np.allclose(store.labels_of("mp2").energy, [-76.40 * HARTREE, -76.41 * HARTREE])
    with pytest.raises(ValueError, match="unknown format 'titeld', did you mean 'titled'"):
        import_data(path, "titeld", fidelity="mp2")
    sys.modules.pop("titled")
