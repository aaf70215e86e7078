"""`idle-md bench openmm`."""

import json
import sys

import pytest

from idle_md.cli.main import main
from idle_md.engines.openmm.benchmark import bench_openmm, ethanol


def test_cluster_of_ethanol() -> None:
    cluster = ethanol(11)
    assert len(cluster) == 99
    distances = cluster.get_all_distances()
    assert 0.9 < distances[distances > 0].min() < 1.2
    assert 1.9 < distances[:9, 9:].min() < 2.5


def test_every_way_is_timed_or_has_a_reason(model_file, no_torchforce) -> None:
    report = bench_openmm(
        model_file(), ethanol(1), platforms=["Reference"], timestep_fs=1e-4, seconds=0.5
    )
    assert (report.atoms, report.edges) == (9, 70)
    assert report.empty_ms["Reference"] > 0
    assert len(report.timings) == 3 * 2 * 4
    for timing in report.timings:
        if timing.why_not is None:
            assert timing.step_ms > timing.overhead_ms
            assert timing.ns_per_day == pytest.approx(1e-10 * 86400 / (1e-3 * timing.step_ms))
        else:
            assert timing.step_ms is None
    done = {t.way["backend"] for t in report.timings if t.why_not is None}
    assert done == ({"pythonforce"} if no_torchforce else {"torchforce", "pythonforce"})
    assert {"native", "vesin", "torch"} <= {
        t.way["neighbors"] for t in report.timings if t.why_not is None
    }
    assert report.single_fidelity["operators_a"] == report.single_fidelity["operators_b"]


@pytest.mark.parametrize("as_json", [True, False])
def test_command_prints_figures(as_json, committee_file, monkeypatch, capsys) -> None:
    """Of a committee, which has no single-fidelity twin."""
    only = ["--platform", "Reference", "--backend", "pythonforce", "--neighbors", "native"]
    shortened = ["--timestep", "0.0001", "--seconds", "0.1"] + ["--json"] * as_json
    command = ["bench", "openmm", str(committee_file()), *only, "--kernels", "native", *shortened]
    monkeypatch.setattr(sys, "argv", ["idle-md", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    printed = capsys.readouterr().out
    if not as_json:
        assert "A step without a force" in printed
        return
    small, large = json.loads(printed)
    assert [small["atoms"], large["atoms"]] == [9, 99]
    assert small["single_fidelity"] is None
    assert small["timings"][0]["step_ms"] < large["timings"][0]["step_ms"]


def test_bad_names_are_errors(model_file) -> None:
    with pytest.raises(ValueError, match="unknown OpenMM platform 'GPU'"):
        bench_openmm(model_file(), ethanol(1), platforms=["GPU"])
    with pytest.raises(ValueError, match="unknown kernels"):
        bench_openmm(model_file(), ethanol(1), kernels=["fast"])
