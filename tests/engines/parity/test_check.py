"""`idle-md check`: every engine gives the same, and one that does not is found."""

import json
import sys
from dataclasses import replace

import ase.build
import ase.io
import numpy as np
import pytest
import torch

from idle_md.cli.main import main
from idle_md.engines.lammps import process as lammps_run
from idle_md.engines.parity import check
from idle_md.engines.parity.structures import SAMPLES

QUICK = ("molecule", "liquid", "tiny cell", "slab")


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["idle-md", "check", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def without_lammps(monkeypatch) -> None:
    monkeypatch.setattr(lammps_run, "why_not", lambda: "LAMMPS is not installed")


@pytest.mark.parametrize("name", ["painn", "hipnn", "gmnn"])
def test_all_engines_agree_on_all_structures(name, model_file) -> None:
    found = check.check_engines(model_file(name=name))
    assert len(found.structures) == len(SAMPLES) >= 12
    assert found.failures == []
    run = {each.engine: each for each in found.comparisons if each.why_not is None}
    assert set(run["evaluate, portable"].largest) == {"energy", "forces", "stress", "energies"}
    assert set(run["OpenMM, pythonforce"].largest) == {"energy", "forces"}
    assert set(run["OpenMM, pythonforce"].left_out) == {"slab", "slab across", "wire"}
    assert ("ASE, native" in run) == (name == "painn")
    if lammps_run.why_not() is None:
        assert ("LAMMPS, local, 1 rank" in run) == (name == "gmnn")
        for mode in ("fold", "ghost"):
            compared = run[f"LAMMPS, {mode}, 1 rank"]
            assert list(compared.differences) == list(SAMPLES)


@pytest.mark.skipif(lammps_run.why_not() is not None, reason=str(lammps_run.why_not()))
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_all_ranks_agree(ranks, model_file) -> None:
    names = SAMPLES if ranks == 2 else QUICK  # many ranks on few cores are slow
    structures = {name: SAMPLES[name]((1, 6, 7, 8)) for name in names}
    found = check.check_engines(model_file(), structures, [ranks])
    assert found.failures == []
    by_name = {each.engine: each for each in found.comparisons}
    assert list(by_name[f"LAMMPS, ghost, {ranks} ranks"].differences) == list(names)
    assert by_name[f"LAMMPS, fold, {ranks} ranks"].why_not == "this mode is for one rank"


def test_single_precision_has_its_own_tolerance(model_file, monkeypatch) -> None:
    without_lammps(monkeypatch)
    found = check.check_engines(model_file(dtype=torch.float32))
    assert found.tolerance == 1e-5
    assert found.failures == []


def test_broken_engine_is_found(model_file, tmp_path, monkeypatch, capsys) -> None:
    without_lammps(monkeypatch)
    exact = check.evaluate

    def shifted(model, structures):
        results = exact(model, structures)
        results[2].forces[1, 0] += 1e-6
        return results

    path, file = model_file(), tmp_path / "check.json"
    assert run(monkeypatch, path, "--json", file) == 0
    assert json.loads(file.read_text())["failures"] == []
    assert "LAMMPS is not installed" in capsys.readouterr().out
    monkeypatch.setattr(check, "evaluate", shifted)
    assert run(monkeypatch, path, "--json", file) == 1
    broken = list(SAMPLES)[2]
    for engine, structure, quantity in json.loads(file.read_text())["failures"]:
        assert engine.startswith("evaluate, ")
        assert (structure, quantity) == (broken, "forces")
    assert f"evaluate, portable differs in forces of {broken}" in capsys.readouterr().out


def test_what_is_no_number_does_not_pass(model_file, monkeypatch) -> None:
    without_lammps(monkeypatch)
    exact = check.evaluate

    def lost(model, structures):
        return [replace(each, energy=np.nan) for each in exact(model, structures)]

    monkeypatch.setattr(check, "evaluate", lost)
    found = check.check_engines(model_file(), {"one": SAMPLES["molecule"]((1, 6, 8))})
    assert ("evaluate, portable", "one", "energy") in found.failures


def test_refused_structures_count_neither_way(model_file, monkeypatch) -> None:
    monkeypatch.setattr(lammps_run, "why_not", lambda: None)
    refusal = lammps_run.LammpsError("the box is too small")
    monkeypatch.setattr(check, "evaluate_each", lambda path, each, *_: [refusal] * len(each))
    found = check.check_engines(model_file(), {"one": SAMPLES["tiny cell"]((1, 6, 7, 8))})
    assert found.failures == []
    compared = {each.engine: each for each in found.comparisons}["LAMMPS, ghost, 1 rank"]
    assert compared.left_out == {"one": "refused: the box is too small"}


@pytest.mark.skipif(lammps_run.why_not() is not None, reason=str(lammps_run.why_not()))
def test_lammps_goes_on_after_a_structure_that_it_refuses(model_file) -> None:
    good, unknown = ase.build.molecule("CH3CH2OH"), ase.build.molecule("CH3Cl")
    first, refused, last = check.evaluate_each(model_file(), [good, unknown, good])
    assert isinstance(refused, lammps_run.LammpsError)
    assert first.energy == pytest.approx(last.energy, abs=1e-9)


def test_structures_of_files(model_file, tmp_path, monkeypatch, capsys) -> None:
    without_lammps(monkeypatch)
    file = tmp_path / "ethanol.xyz"
    ase.io.write(file, ase.build.molecule("CH3CH2OH"))
    assert run(monkeypatch, model_file(), file) == 0
    assert "on 1 structures" in capsys.readouterr().out
