"""From molecules to a potential, on a cheap stand-in for an expensive level."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from idle_md import campaign
from idle_md.campaign import Campaign, CampaignSettings, measured, open_campaign
from idle_md.campaign import run as steps
from idle_md.campaign.plan import Plan
from idle_md.campaign.settings import CampaignFolder
from idle_md.cli.main import app
from idle_md.data import Store
from idle_md.deploy import load
from idle_md.nn import PaiNN, Potential, load_checkpoint, make_backbone, save_checkpoint
from idle_md.train.methods import adapt

SETTINGS: dict[str, Any] = {
    "molecules": ["O water"],
    "level": "gfn1",
    "labels": [8],
    "sample": {"frames": 40, "mix": {"modes": 1}},
    "backbone": {"name": "painn", "features": 16, "cutoff": 4.0},
    "picoseconds": 0.05,
    "threads": 1,
}


@pytest.fixture(scope="module", autouse=True)
def short() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "STEPS", {"base": 40, "student": 20})
        for module in (steps, adapt):  # compiling takes longer than all the rest
            patch.setattr(module, "has_compiler", lambda: False)
        yield


def run(out: Path, more: int | None = None) -> list[dict[str, Any]]:
    given = None if more else CampaignSettings.model_validate(SETTINGS)
    settings, folder = open_campaign(out, given, resume=False, more=more)
    return Campaign(settings, folder, Console(quiet=True), jobs=1).run()


def test_a_molecule_becomes_a_potential_and_a_better_one(tmp_path: Path) -> None:
    out = tmp_path / "water"
    [first] = run(out)
    store = Store.read(out / "store.h5")
    assert store.has_energy("gfn2").all()
    assert first["labels"] == {"gfn2": 40, "gfn1": 8}
    assert (store.has_energy("gfn1") & (store.role == "test")).sum() == 2
    assert first["test"]["n_energies"] == 2
    model = load(out / "model.pt").metadata
    assert (model.fidelity, model.elements) == ("gfn1", [1, 8])
    assert "OpenMM" in " ".join(first["engines"])
    assert first["dynamics"]["picoseconds"] == 0.05
    assert (out / "report.html").is_file()
    assert len(list((out / "md.xyz").read_text().splitlines())) > 5
    before = (out / "round-0" / "metrics.json").stat().st_mtime_ns
    both = run(out, more=6)
    assert (out / "round-0" / "metrics.json").stat().st_mtime_ns == before
    assert both[0] == first
    assert both[1]["labels"] == {"gfn2": 40, "gfn1": 14}
    assert both == json.loads((out / "results.json").read_text())
    again = Store.read(out / "store.h5").labels_of("gfn1").energy
    kept = store.has_energy("gfn1")
    np.testing.assert_array_equal(again[kept], store.labels_of("gfn1").energy[kept])


def test_plan_is_measured() -> None:
    plan = planned({**SETTINGS, "molecules": ["O", "CCO ethanol"]})
    assert 0 < plan.seconds["gfn2"] < 5
    assert plan.cpu_minutes > 0
    text = "\n".join(plan.lines())
    assert "min of labels in 7 processes" in plan.lines(7)[-1]
    assert "on the workers of tcp://here:1" in plan.lines(7, "tcp://here:1")[-1]
    assert "2 molecules: O, ethanol" in text
    assert "8 of them labelled at gfn1, energies and forces" in text


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_model(tmp_path: Path) -> None:
    """Seven kills at random moments; the last run is left alone."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole)
    open_campaign(killed, CampaignSettings.model_validate(SETTINGS), resume=False, more=None)
    code = (
        "import sys; from pathlib import Path; from rich.console import Console;"
        "from idle_md.campaign import Campaign, open_campaign, run;"
        "from idle_md.train.methods import adapt;"
        "run.STEPS = {'base': 40, 'student': 20};"
        "run.has_compiler = adapt.has_compiler = lambda: False;"
        "opened = open_campaign(Path(sys.argv[1]), None, True, None);"
        "Campaign(*opened, Console(quiet=True), jobs=1).run()"
    )
    command = [sys.executable, "-c", code, str(killed)]
    rng = np.random.default_rng(0)
    for _ in range(7):
        process = subprocess.Popen(command)
        time.sleep(float(rng.uniform(4, 20)))
        process.kill()
        process.wait()
    subprocess.run(command, check=True)
    found, expected = (load_checkpoint(out / "round-0" / "best.ckpt")[0] for out in (killed, whole))
    for name, value in expected.state_dict().items():
        assert torch.allclose(found.state_dict()[name], value, rtol=1e-6, atol=1e-9), name


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (lambda out: open_campaign(out, None, True, None), "there is no campaign in .*: give mol"),
        (lambda out: started(out, None), "say --resume or --more"),
        (lambda out: started(out, CampaignSettings.model_validate(SETTINGS)), "already holds a"),
    ],
)
def test_misuse(tmp_path: Path, begin: Callable[[Path], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        begin(tmp_path / "run")
    assert not (tmp_path / "run" / "store.h5").exists()


def started(out: Path, given: CampaignSettings | None, resume: bool = False) -> CampaignFolder:
    open_campaign(out, CampaignSettings.model_validate(SETTINGS), False, None)
    return open_campaign(out, given, resume, None)[1]


def planned(given: dict[str, Any]) -> Plan:
    settings = CampaignSettings.model_validate(given)
    return measured(settings, settings.read_molecules())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model of GFN2-xTB that knows hydrogen and oxygen."""
    potential = Potential(make_backbone([1, 8], PaiNN.Config(features=16)), ["gfn2"])
    path = tmp_path_factory.mktemp("base") / "best.ckpt"
    save_checkpoint(path, potential, {"target": "gfn2"})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"molecules": ["[OH] radical"]}, r"has 1 unpaired electrons, and sampling knows closed"),
        ({"molecules": ["O water", "CO water"]}, r"two molecules are called 'water'"),
        ({"molecules": ["CO"], "base": True}, r"does not know the elements C: it knows H, O"),
        ({"low": "gfn1", "level": "gfn2", "base": True}, r"unknown fidelity 'gfn1'.* has gfn2"),
        ({"level": "gfn2"}, r"gfn2 is the cheap level as well"),
        ({"base": True, "new_base": True}, r"either trained or that of .*best.ckpt"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_done(
    changes: dict[str, Any], message: str, base: Path
) -> None:
    given = {**SETTINGS, **changes}
    if "base" in given:
        given["base"] = str(base)
    with pytest.raises(ValueError, match=message):
        planned(given)


@pytest.mark.parametrize(
    ("changes", "base", "told"),
    [
        ({}, "idle-s", "starts from idle-s"),
        ({"new_base": True}, None, "trains a model of gfn2 of its own: as asked for"),
        ({"molecules": ["[SiH4] silane"]}, None, r"does not know the elements Si"),
        ({"low": "gfn1", "level": "gfn2"}, None, r"unknown fidelity 'gfn1'"),
    ],
)
def test_a_shipped_model_is_the_base_where_it_can(
    changes: dict[str, Any], base: str | None, told: str
) -> None:
    plan = planned({**SETTINGS, **changes})
    assert plan.settings.base == (base and Path(base))
    assert re.search(told, "\n".join(plan.lines()))


def test_command_says_what_is_wrong_before_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tmp_path / "run", None, resume=True)
    monkeypatch.setattr(campaign, "measured", lambda *_: pytest.fail("measured"))
    runner, options = CliRunner(), ["potential", "O", "--out", str(tmp_path / "run")]
    result = runner.invoke(app, [*options, "--level", "gfn1"])
    assert "already holds a campaign" in str(result.exception)
    assert runner.invoke(app, options).exit_code == 2
    options[-1] = str(tmp_path / "new")
    result = runner.invoke(app, [*options, "--level", "gfn2"])
    assert "options" in str(result.exception)
    assert "the cheap level as well" in str(result.exception)
