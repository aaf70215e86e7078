"""`idle-md check`: every engine gives the same, and one that does not is found."""

import json
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import ase.build
import ase.io
import numpy as np
import pytest
import torch

import idle_md
from idle_md.cli.main import main
from idle_md.engines import registry
from idle_md.engines.engine import Absent
from idle_md.engines.lammps import process as lammps_run
from idle_md.engines.lammps.single_point import evaluate_each
from idle_md.engines.parity import check
from idle_md.engines.parity.structures import SAMPLES
from idle_md.engines.results import LeftOut

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
    assert set(run["predict, portable"].largest) == {"energy", "forces", "stress", "energies"}
    assert set(run["OpenMM, pythonforce"].largest) == {"energy", "forces"}
    assert set(run["OpenMM, pythonforce"].left_out) == {"slab", "slab across", "wire"}
    assert ("ASE, native" in run) == (name == "painn")
    if lammps_run.why_not() is None:
        assert ("LAMMPS, local, 1 rank" in run) == (name == "gmnn")
        for mode in ("fold", "ghost"):
            compared = run[f"LAMMPS, {mode}, 1 rank"]
            assert list(compared.differences) == list(SAMPLES)


def test_rounding_of_the_model_itself_is_allowed() -> None:
    compared = check.Comparison("LAMMPS", {"a": {"forces": 3e-5}, "b": {"forces": 3e-5}}, {})
    found = check.Check(1e-5, {"a": 9, "b": 9}, [compared], {"a": {"forces": 1e-5}, "b": {}})
    assert found.failures == [("LAMMPS", "b", "forces")]


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_rounding_is_that_of_single_precision(precision, model_file) -> None:
    found = check.check_engines(model_file(dtype=precision), others=[])
    if precision == torch.float64:
        assert found.rounding == {}
    else:
        forces = [row["forces"] for row in found.rounding.values()]
        assert len(forces) == len(SAMPLES)
        assert 1e-8 < max(forces) < 1e-4


@pytest.mark.skipif(lammps_run.why_not() is not None, reason=str(lammps_run.why_not()))
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_all_ranks_agree(ranks, model_file) -> None:
    names = SAMPLES if ranks == 2 else QUICK  # many ranks on few cores are slow
    structures = {name: SAMPLES[name]((1, 6, 7, 8)) for name in names}
    found = check.check_engines(model_file(), structures, [ranks])
    assert found.failures == []
    by_name = {each.engine: each for each in found.comparisons}
    assert list(by_name[f"LAMMPS, ghost, {ranks} ranks"].differences) == list(names)
    assert by_name[f"LAMMPS, fold, {ranks} ranks"].why_not == "mode fold is for one rank: use ghost"


def test_single_precision_has_its_own_tolerance(model_file, monkeypatch) -> None:
    without_lammps(monkeypatch)
    found = check.check_engines(model_file(dtype=torch.float32))
    assert found.tolerance == 1e-5
    assert found.failures == []


class Changed:
    """An engine of another package, whose predictions are those of ``predict`` but for a change."""

    name = "changed"

    def __init__(self, change=lambda predictions: predictions) -> None:
        self.change = change

    def why_not(self, model=None) -> None:
        return None

    def evaluator(self, path):
        return lambda structures: self.change(idle_md.predict(path, structures))


def shift_third(predictions):
    predictions[2].forces[1, 0] += 1e-6
    return predictions


def test_broken_engine_is_found(model_file, monkeypatch, capsys) -> None:
    path = model_file()
    engines = [check.REFERENCE, Changed(), Absent("LAMMPS", "lammps")]
    monkeypatch.setattr(check, "engines", lambda ranks, device: engines)
    assert run(monkeypatch, path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["failures"] == []
    assert run(monkeypatch, path) == 0
    assert "LAMMPS is not installed" in capsys.readouterr().out
    engines[1] = Changed(shift_third)
    assert run(monkeypatch, path, "--json") == 3
    broken = list(SAMPLES)[2]
    assert json.loads(capsys.readouterr().out)["failures"] == [["changed", broken, "forces"]]
    assert run(monkeypatch, path) == 3
    assert f"changed differs in forces of {broken}" in capsys.readouterr().out


def test_what_is_no_number_does_not_pass(model_file) -> None:
    lost = Changed(lambda predictions: [replace(each, energy=np.nan) for each in predictions])
    structures = {"one": SAMPLES["molecule"]((1, 6, 8))}
    found = check.check_engines(model_file(), structures, others=[lost])
    assert found.failures == [("changed", "one", "energy")]


def test_refused_structures_count_neither_way(model_file) -> None:
    refusing = Changed(lambda predictions: [LeftOut("refused: the box is too small")])
    structures = {"one": SAMPLES["tiny cell"]((1, 6, 7, 8))}
    found = check.check_engines(model_file(), structures, others=[refusing])
    assert found.failures == []
    assert found.comparisons[0].left_out == {"one": "refused: the box is too small"}


def test_engine_of_another_package_is_compared(model_file, monkeypatch) -> None:
    point = EntryPoint("toy", f"{__name__}:Changed", registry.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Changed)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert registry.engines()[-1].name == "changed"


def test_package_that_is_missing_is_named(monkeypatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    reasons = {each.name: each.why_not() for each in registry.engines()}
    assert reasons["OpenMM"] == "OpenMM is not installed: `pip install 'idle-md[openmm]'`"
    assert reasons["torch-sim"].endswith("`pip install 'idle-md[torchsim]'`")


@pytest.mark.skipif(lammps_run.why_not() is not None, reason=str(lammps_run.why_not()))
def test_lammps_goes_on_after_a_structure_that_it_refuses(model_file) -> None:
    good, unknown = ase.build.molecule("CH3CH2OH"), ase.build.molecule("CH3Cl")
    first, refused, last = evaluate_each(model_file(), [good, unknown, good])
    assert isinstance(refused, lammps_run.LammpsError)
    assert first.energy == pytest.approx(last.energy, abs=1e-9)


def test_structures_of_files(model_file, tmp_path, monkeypatch, capsys) -> None:
    without_lammps(monkeypatch)
    file = tmp_path / "ethanol.xyz"
    ase.io.write(file, ase.build.molecule("CH3CH2OH"))
    assert run(monkeypatch, model_file(), file) == 0
    assert "on 1 structures" in capsys.readouterr().out
