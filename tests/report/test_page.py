"""The page says what the run folder says, and says it in one file."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.data import Store
from idle_md.nn import load_checkpoint, save_checkpoint
from idle_md.report import write_report
from idle_md.report.held_out import held_out
from idle_md.report.run import open_run
from idle_md.train import parse_config, train

TEST = "Held-out geometries (role test)"
KEYS = (
    "energy_mae_mev",
    "energy_mae_mev_per_atom",
    "relative_energy_mae_mev",
    "force_mae_mev_per_angstrom",
)


def metrics(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return content


def change_metrics(run: Path, **more: Any) -> None:
    (run / "metrics.json").write_text(json.dumps(metrics(run) | more))


def cells(errors: dict[str, Any]) -> list[str]:
    return [f"{errors[key]:,.1f}" for key in KEYS]


def test_numbers_are_those_of_the_run(idle: Path, page_of: Any) -> None:
    page, found = page_of(idle), metrics(idle)
    assert page.path == idle / "report.html"
    table = page.table(TEST)
    for fidelity in ("gfn2", "wb97x"):
        assert table[fidelity] == cells(found["test"][fidelity])
    assert "329 train, 141 validation, 10 test" in page.text
    assert page.table("What was trained on what")["this run"][1:] == ["wb97x", "18", "0", "2", "0"]
    for package, version in found["versions"].items():
        assert f"{package} {version}" in page.text
    assert "learning_rate: 0.01" in page.text


def test_first_sentence_compares_with_the_low_level(
    idle: Path, page_of: Any, small_store: Path
) -> None:
    page = page_of(idle)
    store = Store.read(small_store)
    part = store.select(np.flatnonzero((store.role == "test") & store.has_energy("wb97x")))
    gap = np.abs(part.labels_of("wb97x").forces - part.labels_of("gfn2").forces).mean()
    ratio = metrics(idle)["test"]["wb97x"]["force_mae_mev_per_angstrom"] / (1e3 * gap)
    assert ratio > 1  # after 20 steps
    assert page.sentence.startswith("The model did not beat the trivial baseline (gfn2's own")
    assert f"force errors are {ratio - 1:.0%} larger." in page.sentence
    assert page.text.split("by method idle", 2)[-1].strip().startswith(page.sentence)
    assert page.table(TEST)["trivial baseline: gfn2"][3] == f"{1e3 * gap:.1f}"


def test_page_is_one_file_for_small_screens(idle: Path, page_of: Any, tmp_path: Path) -> None:
    page = page_of(idle, out=tmp_path / "page.html")
    assert len(page.svgs) == 2 + 2 * 2 + 6  # learning curves, parity of two levels, structures
    for text in page.svgs:
        assert ET.fromstring(text).get("viewBox")
    assert '<meta name="viewport"' in page.html
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']{5})|url\(([^)]{1})|(@import)""", page.html)
    assert {"".join(link) for link in links} <= {"data:", "#"} | {
        link[0] for link in links if link[0].startswith("#")
    }
    assert not [p for p in tmp_path.iterdir() if p.name != "page.html"]


def test_text_is_escaped(idle: Path, copy_of: Any, page_of: Any) -> None:
    page = page_of(copy_of(idle, "a<b>c"))
    assert "a&lt;b&gt;c" in page.html
    assert "<b>" not in page.html


def test_committee_shows_its_members_and_their_stages(committee: Path, page_of: Any) -> None:
    page, found = page_of(committee), metrics(committee)
    table = page.table(TEST)
    assert table["wb97x"] == cells(found["test"]["wb97x"])
    for number, member in enumerate(found["members"]):
        assert table[f"wb97x, member {number}"] == cells(member["test"]["wb97x"])
    share = found["uncertainty"]["test"]["forces"]["share_within_one_std"]
    assert f"{share:.0%} of forces, test" in page.text
    trainings = page.table("What was trained on what")
    assert {"member-0/pretrain", "member-0", "member-1/pretrain", "member-1"} <= set(trainings)
    assert trainings["member-1/pretrain"][1:] == ["gfn2", "329", "329", "141", "141"]
    curves = page.svgs[0]
    assert ">pretrain: gfn2<" in curves
    assert ">wb97x<" in curves
    [held] = held_out(open_run(committee))
    assert held.errors == pytest.approx(found["test"]["wb97x"])


def test_differences_are_added_to_the_low_level(
    delta: Path, page_of: Any, small_store: Path
) -> None:
    page, found = page_of(delta), metrics(delta)["test"]["wb97x"]
    assert page.table(TEST)["wb97x"] == cells(found)
    [held] = held_out(open_run(delta))
    assert held.errors == pytest.approx(found, rel=1e-4)
    labels = Store.read(small_store).labels_of("wb97x").energy[held.indices]
    assert np.abs(held.energies - labels).max() < 1.0  # eV; the low level's totals are far away
    assert "baseline (gfn2's own labels plus" in page.sentence
    assert "difference to gfn2" in page.text


def test_without_a_low_level_there_is_nothing_to_compare(
    make_settings: Any, copy_of: Any, page_of: Any, idle: Path
) -> None:
    run = copy_of(idle)
    content = yaml.safe_load((run / "config.yaml").read_text())
    content |= {"labels": {"wb97x": ["energy"]}, "method": {"name": "single"}}
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    sentence = page_of(run).sentence
    assert sentence.startswith("The model could not be compared with the trivial baseline: ")
    assert sentence.endswith("given no labels of a level below wb97x.")


def test_validation_stands_in_for_roles(
    make_settings: Any, page_of: Any, small_store: Path, tmp_path: Path
) -> None:
    store = Store.read(small_store)
    store.role[:] = ""
    store.write(tmp_path / "no_roles.h5")
    settings = make_settings(tmp_path / "run")
    settings["data"]["store"] = str(tmp_path / "no_roles.h5")
    run = train(parse_config({**settings, "budget": {"steps": 2, "validate_every": 1}}))
    page = page_of(run)
    assert "Validation geometries, by whose labels checkpoints are chosen" in page.text
    before = {each.fidelity: each for each in held_out(open_run(run))}
    assert (before["wb97x"].role, before["gfn2"].errors["n_energies"]) == ("validation", 144)

    potential, about = load_checkpoint(run / "best.ckpt")
    save_checkpoint(run / "best.ckpt", potential, {**about, "closed_form": {}})
    after = {each.fidelity: each for each in held_out(open_run(run))}
    used = before["wb97x"].errors["n_energies"] - after["wb97x"].errors["n_energies"]
    assert used == about["label_counts"]["wb97x"]["validation"]["energy"] == 2


def test_uncertainty_and_closed_form(idle: Path, copy_of: Any, page_of: Any) -> None:
    run, row = copy_of(idle), metrics(idle)["test"]["gfn2"]
    covered = {"n": 10, "mean_std_mev": 50.0, "share_within_one_std": 0.61}
    nothing = {"n": 0, "mean_std_mev": None, "share_within_one_std": None}
    change_metrics(
        run,
        uncertainty={
            "test": {"energies": covered, "forces": covered | {"share_within_one_std": 0.75}},
            "ood": {"energies": nothing, "forces": nothing},
        },
        closed_form={"test": {"model": row, "live": row}, "ood": None},
    )
    page = page_of(run)
    assert "61% of energies, test, 75% of forces, test; of normally" in page.text
    assert len(page.svgs) == 13
    assert page.table(TEST)["closed form on the model"] == cells(row)
    assert page.table(TEST)["closed form on a live low level"] == cells(row)


def test_what_is_no_finished_run(idle: Path, copy_of: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no run folder at {tmp_path}/absent: give"):
        write_report(tmp_path / "absent")
    with pytest.raises(ValueError, match=rf"{tmp_path} is no run folder, it has no config.yaml"):
        write_report(tmp_path)
    run = copy_of(idle)
    (run / "metrics.json").unlink()
    again = rf"{run} is not finished: go on with `idle-md train {run}/config.yaml --resume`"
    with pytest.raises(ValueError, match=again):
        write_report(run)


def test_data_that_moved_or_changed(
    idle: Path, copy_of: Any, page_of: Any, small_store: Path, tmp_path: Path
) -> None:
    run = copy_of(idle)
    content = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(content.replace(str(small_store), "gone.h5"))
    with pytest.raises(FileNotFoundError, match=rf"gone.h5 of {run}/config.yaml .* --data FILE"):
        write_report(run)
    moved = shutil.copy(small_store, tmp_path / "here.h5")
    assert page_of(run, data=str(moved)).table(TEST) == page_of(idle).table(TEST)
    store = Store.read(small_store)
    store.labels["wb97x"].energy[np.flatnonzero(store.role == "test")[0]] = np.nan
    store.write(tmp_path / "other.h5")
    with pytest.raises(ValueError, match=r"other.h5 has changed since .*were 10 .* are 9 and 10"):
        write_report(run, data=str(tmp_path / "other.h5"))


def test_command(idle: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["report", str(idle), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "The model did not beat" in result.output
    assert out.read_text().startswith("<!doctype html>")
