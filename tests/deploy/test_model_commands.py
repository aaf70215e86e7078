"""`idle-md export` and `idle-md info`."""

import json
import re

import pytest
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.deploy import load
from idle_md.nn import save_checkpoint


@pytest.fixture
def checkpoint(make_potential, tmp_path):
    counts = {"high": {"train": {"energy": 90, "forces": 0}}}
    level = {"method": "wB97X", "basis": "6-31G*"}
    metadata = {"target": "high", "levels": {"high": level}, "label_counts": counts}
    save_checkpoint(tmp_path / "best.ckpt", make_potential(), metadata)
    return tmp_path / "best.ckpt"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_export_writes_the_fidelity_that_is_asked_for(checkpoint, tmp_path) -> None:
    result = invoke("export", checkpoint, "--fidelity", "low", "-o", tmp_path / "low.pt")
    assert result.exit_code == 0, result.output
    assert load(tmp_path / "low.pt").metadata.fidelity == "low"


def test_export_takes_the_target_by_default_and_says_so(checkpoint, tmp_path) -> None:
    result = invoke("export", checkpoint, "-o", tmp_path / "model.pt")
    assert result.exit_code == 0, result.output
    assert "high (wB97X/6-31G*), cutoff 4 Å" in result.output
    assert load(tmp_path / "model.pt").metadata.fidelity == "high"


def test_export_of_an_unknown_fidelity_writes_nothing(checkpoint, tmp_path) -> None:
    result = invoke("export", checkpoint, "--fidelity", "hihg", "-o", tmp_path / "model.pt")
    assert result.exit_code == 1
    assert "this model has low, high" in str(result.exception)
    assert not (tmp_path / "model.pt").exists()


def test_info_prints_the_metadata(checkpoint, tmp_path) -> None:
    invoke("export", checkpoint, "-o", tmp_path / "model.pt")
    metadata = load(tmp_path / "model.pt").metadata
    printed = json.loads(invoke("info", tmp_path / "model.pt", "--json").output)
    assert printed == metadata.model_dump(mode="json")


def rows(output: str) -> list[list[str]]:
    """The cells of all lines of cards and tables."""
    return [re.split(r"\s*│\s*|\s{2,}", line.strip("│ ")) for line in output.splitlines()]


@pytest.fixture
def described(make_potential, tmp_path):
    """A run folder of a training with errors, a baseline and a program that are known."""
    folder = tmp_path / "[my] run"
    folder.mkdir()
    counts = {
        "low": {"train": {"energy": 17_886, "forces": 17_001}},
        "high": {"train": {"energy": 130, "forces": 0}, "validation": {"energy": 14, "forces": 0}},
    }
    level = {"method": "wB97X", "basis": "6-31G*", "program": "PySCF", "version": "2.14.0"}
    metadata = {"target": "high", "levels": {"high": level}, "label_counts": counts}
    save_checkpoint(folder / "best.ckpt", make_potential(), metadata)
    errors = {"energy_mae_mev": 57.26, "energy_mae_mev_per_atom": 5.123}
    errors |= {"relative_energy_mae_mev": 45.14, "force_mae_mev_per_angstrom": None}
    baseline = {"baseline_energy_mae_mev": 242.2, "baseline_force_mae_mev_per_angstrom": 218.04}
    test = {**errors, "n_energies": 1180, "n_forces": 0, **baseline}
    (folder / "metrics.json").write_text(json.dumps({"test": {"high": test}, "ood": {}}))
    return folder


@pytest.mark.parametrize("kind", ["model", "checkpoint", "run folder"])
def test_info_is_a_card_that_a_person_can_read(described, tmp_path, kind) -> None:
    path = {"checkpoint": described / "best.ckpt", "run folder": described}.get(kind)
    if path is None:
        path = tmp_path / "[my] model.pt"
        invoke("export", described, "-o", path)
    result = invoke("info", path)
    assert result.exit_code == 0, result.output
    found = rows(result.output)
    assert found[0] == [str(path)]
    for row in (
        ["fidelity", "high"],
        ["level of theory", "wB97X/6-31G*, PySCF 2.14.0"],
        ["elements", "H C N O"],
        ["backbone", "painn, features 16, interactions 2, n_radial 8, radial bessel"],
        ["head", "16 to 8 to 1"],
        ["cutoff", "4 Å"],
        ["receptive field", "8 Å"],
        ["precision", "float64"],
        ["format version", "1"],
        ["low", "train", "17,886", "17,001"],
        ["high", "validation", "14", "0"],
        ["test", "this model", "57.3", "5.1", "45.1", "-", "1,180", "0"],
        ["test", "trivial baseline", "242.2", "-", "-", "218.0", "-", "-"],
    ):
        assert row in found, row
    assert "note" not in result.output
    assert "{" not in result.output
    raw = json.loads(invoke("info", path, "--json").output)
    assert raw["test_errors"]["test"]["baseline_energy_mae_mev"] == 242.2
    assert raw["elements"] == [1, 6, 7, 8]


def test_info_says_what_is_not_known(make_potential, tmp_path) -> None:
    about = {"target": "high", "delta_on": "gfn2"}
    save_checkpoint(tmp_path / "best.ckpt", make_potential(), about)
    output = invoke("info", tmp_path / "best.ckpt").output
    assert ["level of theory", "not known"] in rows(output)
    assert "note: this is a difference: energies and forces of gfn2 must be added" in output
    assert "note: what it was trained on is not known" in output
    assert "note: errors on held-out geometries are not known" in output


def test_info_on_what_is_not_there(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    for path, message in (("run", "no checkpoint at"), ("model.pt", "no model at")):
        assert message in str(invoke("info", tmp_path / path).exception)
