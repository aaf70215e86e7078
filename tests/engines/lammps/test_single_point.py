"""The same numbers in LAMMPS as in Python, in every mode and on every number of ranks."""

import os
import subprocess
import sys

import ase
import numpy as np
import pytest
import torch

from idle_md import deploy
from idle_md.engines.lammps import plugin as lammps_plugin
from idle_md.engines.lammps.input import place, set_up, write_data
from idle_md.engines.lammps.process import why_not
from idle_md.engines.lammps.single_point import evaluate_lammps
from idle_md.native import places
from tests.engines.lammps.systems import (
    SYSTEMS,
    assert_same,
    expected,
    grid,
    molecule,
    skewed,
    slab,
    water,
)

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

BACKBONES = ["painn", "hipnn", "gmnn"]
MODES = {"painn": ["fold", "ghost"], "hipnn": ["fold", "ghost"], "gmnn": ["fold", "ghost", "local"]}


@pytest.fixture(scope="module", params=BACKBONES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def path(name, model_file):
    return model_file(name=name)


@pytest.fixture(scope="module")
def model(path) -> deploy.DeployedModel:
    return deploy.load(path, kernels="portable")


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_rank_gives_the_same_in_every_mode(system, name, path, model) -> None:
    atoms = SYSTEMS[system]()
    for mode in MODES[name]:
        assert_same(evaluate_lammps(path, atoms, mode), model, atoms)


@pytest.mark.parametrize("system", ["molecule", "tiny", "slab"])
def test_two_ranks_give_the_same(system, name, path, model) -> None:
    atoms = SYSTEMS[system]()
    assert_same(evaluate_lammps(path, atoms, MODES[name][-1], ranks=2), model, atoms)


@pytest.mark.parametrize(("ranks", "system"), [(4, skewed), (8, water)])
def test_many_ranks_give_the_same(ranks, system, model_file) -> None:
    path = model_file(name="painn")
    atoms = system()
    assert_same(evaluate_lammps(path, atoms, ranks=ranks), deploy.load(path), atoms)


def test_ranks_without_atoms_do_no_harm(model_file) -> None:
    path = model_file(name="painn")
    atoms = ase.Atoms("CO", [[1.0, 1, 1], [1.0, 1, 2.2]], cell=[30.0] * 3, pbc=True)
    found = evaluate_lammps(path, atoms, ranks=4)
    assert_same(found, deploy.load(path), atoms)


def test_three_interactions_reach_through_two_ranks(model_file) -> None:
    path = model_file(name="painn", interactions=3, cutoff=3.0)
    atoms = grid((10, 2, 2), 2.0, seed=7)
    assert_same(evaluate_lammps(path, atoms, ranks=2), deploy.load(path), atoms)


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_single_precision(kernels, model_file) -> None:
    path = model_file(name="painn", dtype=torch.float32)
    atoms = skewed()
    model = deploy.load(path, kernels=kernels)
    assert_same(evaluate_lammps(path, atoms, kernels=kernels), model, atoms)


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_precision_is_changed_on_request(kernels, model_file) -> None:
    path = model_file(name="painn")
    atoms = slab()
    model = deploy.load(path, dtype=torch.float32, kernels=kernels)
    found = evaluate_lammps(path, atoms, kernels=kernels, precision="single")
    assert_same(found, model, atoms)
    exact = evaluate_lammps(path, atoms)
    assert 1e-9 < np.abs(found.forces - exact.forces).max() < 1e-3


@pytest.mark.parametrize("name", ["painn", "gmnn"])
def test_a_committee_runs_its_mean(name, committee_file) -> None:
    path = committee_file(name=name)
    atoms = water((2, 2, 2))
    assert_same(evaluate_lammps(path, atoms), deploy.load(path, kernels="portable"), atoms)


def test_lone_atoms_have_their_own_energies(model_file) -> None:
    path = model_file(name="painn")
    atoms = ase.Atoms("HCO", [[0, 0, 0], [50.0, 0, 0], [0, 60.0, 0]])
    found = evaluate_lammps(path, atoms)
    assert not found.forces.any()
    assert_same(found, deploy.load(path), atoms)


def test_isotopes_are_types_of_their_own(model_file) -> None:
    atoms = molecule()
    masses = atoms.get_masses()
    masses[-1] = 2.014
    atoms.set_masses(masses)
    path = model_file(name="painn")
    assert_same(evaluate_lammps(path, atoms), deploy.load(path), atoms)


def test_the_plugin_is_found_without_torch(monkeypatch) -> None:
    code = "import sys; from idle_md.engines.lammps.plugin import plugin_folder as f; print(f())"
    command = [sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert found in [str(folder) for folder in places.folders()]
    monkeypatch.setattr(places, "_torch_version", lambda: 1 / 0)
    assert lammps_plugin.plugin_folder()  # LAMMPS starts all the same


FROM_PYTHON = """
import sys
from ase.io import read

atoms, commands = read(sys.argv[1]), ["pair_style idle", f"pair_coeff * * {sys.argv[2]} H C N O"]
if sys.argv[3] == "LAMMPSlib":
    from ase.calculators.lammpslib import LAMMPSlib
    types = {"H": 1, "C": 2, "N": 3, "O": 4}
    atoms.calc = LAMMPSlib(lmpcmds=commands, atom_types=types, keep_alive=True)
    energy = atoms.get_potential_energy()
else:
    from lammps import PyLammps, lammps
    instance = lammps(cmdargs=["-screen", "none", "-log", "none"])
    instance.commands_list(sys.argv[4].splitlines())
    energy = instance.get_thermo("pe")
print("energy", repr(float(energy)))
"""


@pytest.mark.parametrize("module", ["LAMMPSlib", "lammps"])
def test_python_modules_of_lammps_find_mpi_and_the_plugin(module, model_file, tmp_path) -> None:
    """In a process that has loaded nothing of this package."""
    atoms, path = water(), model_file()
    atoms.write(tmp_path / "start.traj")
    structure = place(atoms)
    write_data(structure, tmp_path / "start.data")
    script = "\n".join([*set_up(structure, tmp_path / "start.data", path), "run 0"])
    words = [str(tmp_path / "start.traj"), str(path), module, script]
    surroundings = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    command = [sys.executable, "-c", FROM_PYTHON, *words]
    run = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    energy = float(run.stdout.split("energy")[-1])
    assert energy == pytest.approx(expected(deploy.load(path), atoms)[0].sum(), abs=1e-6)
