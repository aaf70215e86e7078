"""`idle-md sample` and `idle-md label` as a user meets them."""

import json
import os
import subprocess
import sys

import pytest

from idle_md.data import Store


def run_idle_md(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "idle_md", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_sample_label_info(tmp_path, added_levels, scheduler) -> None:
    store = tmp_path / "e.h5"
    there = ("--scheduler", scheduler)
    made = run_idle_md(
        "sample", "--smiles", "O", "--frames", 12, "--mix", "modes=1", "-o", store, *there
    )
    assert made.returncode == 0, made.stderr
    for arguments in (("gfn2", "--isolated-atoms"), ("buggy", "--subset", 5)):
        labelled = run_idle_md("label", store, "--level", *arguments, *there)
        assert labelled.returncode == 0, labelled.stderr
    assert "5 failed: KeyError: 'oh' (geometry" in labelled.stdout
    info = json.loads(run_idle_md("data", "info", store, "--json").stdout)
    cheap = info["fidelities"]["gfn2"]
    assert sum(cheap["n_energies"].values()) == sum(cheap["n_forces"].values()) == 12
    assert cheap["cpu_seconds"] > 0
    assert set(cheap["level"]["isolated_atoms_ev"]) == {"H", "O"}
    assert sum(info["fidelities"]["buggy"]["n_energies"].values()) == 0
    joined = run_idle_md("data", "join", store, "chno-mini", "-o", tmp_path / "all.h5")
    assert joined.returncode == 0, joined.stderr
    assert Store.read(tmp_path / "all.h5").has_energy("gfn2").sum() == 12 + 18546


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "--smiles", "C(C"), "no SMILES"),
        (("sample", "--smiles", "C", "--mix", "md"), "write shares such as"),
        (("sample", "--smiles", "C", "--level", "gnf2"), "did you mean 'gfn2'"),
        (("label", "none.h5", "--level", "gfn2"), "none.h5"),
        (("label", "none.h5", "--level", "gfn2", "--select", "disagreement"), "nothing to compare"),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, message) -> None:
    result = run_idle_md(*arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
