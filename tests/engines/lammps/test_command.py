"""`idle-md md --engine lammps` and `idle-md bench lammps`."""

import json
import sys

import ase.io
import numpy as np
import pytest
from typer.testing import CliRunner

from idle_md import deploy
from idle_md.cli.main import app, main
from idle_md.engines.lammps.benchmark import bench_lammps, water_boxes
from idle_md.engines.lammps.process import LammpsError, why_not
from idle_md.nn import GMNN, Potential
from tests.engines.lammps.systems import grid, molecule

needs_lammps = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def path(model_file):
    return model_file()


@pytest.fixture(scope="module")
def structure(tmp_path_factory):
    file = tmp_path_factory.mktemp("start") / "grid.xyz"
    ase.io.write(file, grid((5, 3, 3), 2.2, seed=3))
    return file


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@needs_lammps
def test_two_ranks_write_what_one_goes_on_from(path, structure, tmp_path) -> None:
    frames, saved = tmp_path / "frames.xyz", tmp_path / "saved.restart"
    command = (
        *("md", path, structure, "--engine", "lammps", "--ensemble", "nve", "--timestep", 0.1),
        *("--steps", 20, "--interval", 10, "--seed", 5, "--kernels", "portable"),
    )
    kept = ("--trajectory", frames, "--checkpoint", saved)
    first = invoke(*command, *kept, "--ranks", 2, "--mode", "ghost")
    assert first.exit_code == 0, first.output
    assert "LAMMPS on 2 MPI ranks" in first.output
    assert "ns/day" in first.output
    assert "meV/atom/ps" in first.output
    assert saved.is_file()
    again = invoke(*command, "--trajectory", frames, "--restart", saved)
    assert again.exit_code == 0, again.output
    assert "LAMMPS on 1 MPI rank\n" in again.output
    whole = tmp_path / "whole.xyz"
    assert invoke(*command, "--steps", 40, "--trajectory", whole).exit_code == 0
    end, expected = ase.io.read(frames, -1), ase.io.read(whole, -1)
    assert len(ase.io.read(frames, ":")) == 5
    assert np.abs(end.positions - expected.positions).max() < 2e-4  # six digits are written
    assert (end.numbers == ase.io.read(structure).numbers).all()


@pytest.mark.parametrize(
    ("engine", "option", "value"),
    [
        ("lammps", "--mm", "amber14-all.xml"),
        ("lammps", "--ml-residues", "LIG"),
        ("lammps", "--ml-chain", "A"),
        ("lammps", "--ml-atoms", "0-8"),
        ("lammps", "--hydrogen-mass", "2"),
        ("lammps", "--max-stretch", "2.0"),
        ("lammps", "--max-spread", "0.5"),
        ("lammps", "--spread-file", "spread.csv"),
        ("lammps", "--backend", "auto"),
        ("lammps", "--platform", "CPU"),
        ("openmm", "--ranks", "1"),
        ("openmm", "--mode", "fold"),
        ("openmm", "--precision", "double"),
    ],
)
def test_options_of_the_other_engine_are_refused(engine, option, value, path, structure) -> None:
    result = invoke("md", path, structure, "--engine", engine, option, value)
    assert result.exit_code == 1
    other = "openmm" if engine == "lammps" else "lammps"
    name = option.removeprefix("--").replace("-", "_")
    assert str(result.exception).endswith(
        f"{name} is for engine {other}, not {engine}: leave one out"
    )


@needs_lammps
def test_an_error_of_lammps_is_one_line(path, tmp_path, monkeypatch, capsys) -> None:
    ase.io.write(tmp_path / "pair.xyz", ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]))
    command = ["md", str(path), str(tmp_path / "pair.xyz"), "--engine", "lammps", "--mode", "local"]
    monkeypatch.setattr(sys, "argv", ["idle-md", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: pair_style idle local is for models without message passing")
    assert "\n" not in shown


@needs_lammps
def test_bench_shows_figures(path, structure) -> None:
    ways = ("--ranks", 1, "--ranks", 2, "--mode", "fold", "--mode", "ghost")
    short = ("--timestep", 1e-4, "--steps", 4, "--rounds", 2)
    result = invoke("bench", "lammps", path, structure, *ways, "--kernels", "portable", *short)
    assert result.exit_code == 0, result.output
    assert "45 atoms" in result.output
    assert "Without mode fold, ranks 2, kernels portable" in result.output
    result = invoke(
        "bench", "lammps", path, *ways, structure, *short, "--json", "--kernels", "portable"
    )
    (report,) = json.loads(result.stdout)
    assert report["atoms"] == 45
    rows = report["timings"]
    assert [(row["way"]["mode"], row["way"]["ranks"]) for row in rows] == [
        *(("fold", 1), ("fold", 2), ("ghost", 1), ("ghost", 2))
    ]
    assert rows[1]["step_ms"] is None
    assert "use ghost" in rows[1]["why_not"]
    for row in (rows[0], *rows[2:]):
        assert row["way"]["kernels"] == "portable"
        assert 0 < row["overhead_ms"] < row["step_ms"]
        assert row["katom_steps_per_s"] == pytest.approx(45 / row["step_ms"])
        assert row["ns_per_day"] == pytest.approx(1e-10 * 86400 / (1e-3 * row["step_ms"]))


@needs_lammps
def test_bench_leaves_the_mode_to_the_plugin(path) -> None:
    atoms = grid((3, 3, 3), 2.4)
    report = bench_lammps(path, atoms, ranks=(1,), timestep_fs=1e-4, steps=2, rounds=1)
    assert [timing.way["mode"] for timing in report.timings] == ["fold"]
    with pytest.raises(LammpsError, match="does not know Ar"):
        bench_lammps(path, ase.Atoms("Ar"), ranks=(1,), rounds=1)
    with pytest.raises(LammpsError, match="use ghost"):
        bench_lammps(path, molecule(), ranks=(1,), modes=("local",), rounds=1)


def test_boxes_of_water(path) -> None:
    boxes = water_boxes(path, (1000, 8000))
    assert [len(box) for box in boxes] == [1029, 8232]
    grams = boxes[0].get_masses().sum() / 6.02214076e23
    assert grams / (boxes[0].get_volume() * 1e-24) == pytest.approx(1.0, abs=0.01)
    assert all(boxes[0].pbc)
    box = water_boxes(path, (81,))[0]
    distances = box.get_all_distances(mic=True)[np.triu_indices(len(box), 1)]
    assert np.sort(distances)[2 * 27] > 1.5  # the two bonds of every molecule are shorter


def test_no_boxes_of_water_for_a_model_without_oxygen(tmp_path) -> None:
    potential = Potential(GMNN([1, 6], GMNN.Config(layers=[4], n_radial=2)), ["high"], 0)
    deploy.save(
        deploy.extract(potential, "high"),
        tmp_path / "model.pt",
        deploy.describe(potential, "high"),
    )
    result = invoke("bench", "lammps", tmp_path / "model.pt")
    assert "the model knows H, C, the default structures are water" in str(result.exception)
