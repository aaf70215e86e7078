"""The examples of OpenMM and ASE, shortened, with a model that was not trained."""

import contextlib
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.socketio import SocketIOCalculator
from openmm import app

import idle_md

EXAMPLES = Path(__file__).parents[2] / "examples" / "openmm"
SOCKET_CLIENT = EXAMPLES.parent / "ase" / "socket_client.py"


def run(folder: Path, *command: str) -> str:
    """Return what a script prints; it runs in this process, where all is imported already."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MPLBACKEND", "Agg")
        patch.setattr(sys, "argv", list(command))
        runpy.run_path(command[0], run_name="__main__")
    return output.getvalue()


@pytest.fixture
def folder(tmp_path, model_file) -> Path:
    shutil.copy(model_file(), tmp_path / "model.pt")
    return tmp_path


def test_vacuum(folder) -> None:
    output = run(folder, str(EXAMPLES / "vacuum.py"), "model.pt", "--steps", "20")
    assert len(output.splitlines()) == 1 + 20
    assert (folder / "vacuum.dcd").stat().st_size > 20 * 22 * 12


@pytest.mark.parametrize("example", ["peptide_in_water", "alchemical"])
def test_with_a_force_field(folder, example) -> None:
    pytest.importorskip("openmmml")
    shorter = {
        "peptide_in_water": ("--steps", "20", "--padding", "0.8"),
        "alchemical": ("--steps", "40", "--windows", "2"),
    }
    output = run(folder, str(EXAMPLES / f"{example}.py"), "model.pt", *shorter[example])
    assert len(output.splitlines()) == {"peptide_in_water": 1 + 20, "alchemical": 2 + 1}[example]
    assert "nan" not in output


def test_replica_exchange(folder) -> None:
    short = ("--replicas", "3", "--iterations", "8", "--steps", "5")
    command = (str(EXAMPLES / "replica_exchange.py"), "model.pt", *short)
    if not hasattr(app, "ReplicaExchangeSampler"):
        with pytest.raises(SystemExit, match="has no ReplicaExchangeSampler: install 8"):
            run(folder, *command)
        return
    lines = run(folder, *command).splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["300 K", "387 K", "500 K"]
    means = [float(line.split()[2]) for line in lines[:3]]
    assert np.isfinite(means).all()
    assert "replicas changed their temperature in" in lines[3]


def test_notebook(folder) -> None:
    shutil.copy(EXAMPLES / "alanine_dipeptide.pdb", folder)
    cells = json.loads((EXAMPLES / "vacuum.ipynb").read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs")] == []  # none is committed
    code = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    assert "steps = 20_000\n" in code
    script = code.replace("steps = 20_000\n", "steps = 20\n") + "\nprint(phi[-1], psi[-1])"
    (folder / "notebook.py").write_text(script)
    phi, psi = map(float, run(folder, "notebook.py").split())
    assert -180 <= phi <= 180
    assert -180 <= psi <= 180


@pytest.mark.parametrize("periodic", [False, True])
def test_socket_client(folder, periodic) -> None:
    """ASE is the server here, which speaks i-PI's protocol."""
    atoms = ase.build.molecule("CH3CH2OH", vacuum=2.0)
    atoms.pbc = periodic
    ase.io.write(folder / "start.xyz", atoms)
    name = f"idle_md_{os.getpid()}_{periodic}"
    command = [sys.executable, str(SOCKET_CLIENT), "model.pt", "start.xyz", "--unix", name]
    with (
        SocketIOCalculator(unixsocket=name, timeout=60.0) as server,
        subprocess.Popen(command, cwd=folder) as client,
    ):
        atoms.calc = server
        found = []
        for _ in range(3):
            atoms.positions[0] += 0.01
            stress = atoms.get_stress() if periodic else np.zeros(6)
            found.append((atoms.get_potential_energy(), atoms.get_forces(), stress))
        server.close()
        client.wait(timeout=60)
    atoms.calc = idle_md.Calculator(folder / "model.pt")
    assert found[-1][0] == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(found[-1][1], atoms.get_forces(), rtol=0, atol=1e-6)
    if periodic:
        np.testing.assert_allclose(found[-1][2], atoms.get_stress(), rtol=0, atol=1e-6)
