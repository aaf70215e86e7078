"""Molecular dynamics that goes on from a restart file."""

import shutil
import sys

import ase.io
import numpy as np
import pytest
from ase.geometry import find_mic

from idle_md.cli.main import main
from idle_md.engines.lammps.process import why_not

ACCURACY = {"openmm": 1e-6, "lammps": 2e-4}
"""Of positions in trajectories, angstrom: OpenMM's are written with 8 decimals, LAMMPS' with 6
digits."""


@pytest.mark.parametrize("engine", ["openmm", "lammps"])
def test_restart(files, numbers, engine, tmp_path, monkeypatch) -> None:
    kept = numbers["md"][engine]
    if engine == "openmm":
        pytest.importorskip("openmm")
    elif why_not() is not None:
        pytest.skip(str(why_not()))
    shutil.copytree(files / "md", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    model = files / "models/painn-float64.pt"
    going_on = ["--restart", kept["restart"], "--trajectory", kept["trajectory"], "--steps", "10"]
    words = ["idle-md", "md", str(model), "start.xyz", *kept["options"], *going_on]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    frames = ase.io.read(kept["trajectory"], ":")
    assert len(frames) == len(kept["frames"])
    for frame, expected in zip(frames, kept["frames"], strict=True):
        apart, _ = find_mic(frame.positions - expected, frame.cell, pbc=True)
        assert np.abs(apart).max() <= ACCURACY[engine]
