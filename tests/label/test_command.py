"""`idle-md sample` and `idle-md label` as a user meets them."""

import json
import sys

import pytest
from typer.testing import CliRunner

from idle_md.cli.main import app, main
from idle_md.data import Store


def idle_md(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_sample_label_info(tmp_path, added_levels, scheduler) -> None:
    store = tmp_path / "e.h5"
    there = ("--scheduler", scheduler)
    idle_md("sample", "--smiles", "O", "--frames", 12, "--mix", "modes=1", "-o", store, *there)
    idle_md("label", store, "--level", "gfn2", "--isolated-atoms", *there)
    line = ("label", str(store), "--level", "buggy", "--subset", "5", *there)
    failed = CliRunner().invoke(app, line)
    assert "5 failed: KeyError: 'oh' (geometry" in failed.output
    assert failed.exit_code == 3
    info = json.loads(idle_md("data", "info", store, "--json"))
    cheap = info["fidelities"]["gfn2"]
    assert sum(cheap["n_energies"].values()) == sum(cheap["n_forces"].values()) == 12
    assert cheap["cpu_seconds"] > 0
    assert set(cheap["level"]["isolated_atoms_ev"]) == {"H", "O"}
    assert sum(info["fidelities"]["buggy"]["n_energies"].values()) == 0
    idle_md("data", "join", store, "chno-mini", "-o", tmp_path / "all.h5")
    # Two of chno-mini are turned copies, and so is a relaxed start, as far as it is relaxed.
    n_geometries = Store.read(tmp_path / "all.h5").has_energy("gfn2").sum()
    assert n_geometries in (11 + 18544, 12 + 18544)


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
def test_errors_are_one_line(arguments, message, monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "argv", ["idle-md", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    [line] = capfd.readouterr().err.strip().splitlines()
    assert message in line


def test_plain_xyz_is_labelled_in_a_store_beside_it(tmp_path) -> None:
    water = "3\n energy: -5.07 gnorm: 0.001 xtb: 6.5.1\nO 0 0 {}\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n"
    path = tmp_path / "geometries.xyz"
    path.write_text(water.format(0.117) + water.format(0.1))
    for _ in range(2):  # and goes on
        idle_md("label", path, "--level", "gfn2", "--jobs", 1)
        store = Store.read(tmp_path / "geometries.h5")
        assert store.has_energy("gfn2").all()
    path.write_text(water.format(0.2))
    with pytest.raises(ValueError, match=r"geometries\.h5: holds other geometries than"):
        idle_md("label", path, "--level", "gfn2", "--jobs", 1)
