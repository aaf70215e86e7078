"""`idle-md export` and `idle-md info`."""

import json

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
    table = invoke("info", tmp_path / "model.pt").output
    for word in ("fidelity", "high", "wB97X", "6-31G*", "cutoff_angstrom", "4.0", "energy", "eV"):
        assert word in table
