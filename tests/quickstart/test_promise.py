"""What the quickstart promises, at its full length."""

from pathlib import Path

import pytest
from rich.console import Console

from idle_md.quickstart import run


@pytest.mark.slow
def test_quickstart_keeps_its_promise(tmp_path: Path) -> None:
    report = run(
        tmp_path / "run",
        minutes=3.0,
        labels=72,
        picoseconds=20.0,
        threads=None,
        console=Console(quiet=True),
    )
    idle, single, trivial = (report[n] for n in ("idle", "single", "low_level_baseline"))
    energy, force = "energy_mae_mev", "force_mae_mev_per_angstrom"
    assert idle[force] <= 0.5 * single[force]
    assert idle[energy] <= 0.667 * single[energy]
    for key in (energy, force, "relative_energy_mae_mev"):
        assert idle[key] < trivial[key]
    for key in ("relative_energy_mae_mev", force):
        assert idle[key] <= 0.5 * trivial[key]
        assert idle["ood"][key] < trivial["ood"][key]
    assert report["summary"].startswith("IDLe beat the trivial baseline (")
    parity = report["parity"]
    low, high = min(0.98, parity["self_ratio_low"]), max(1.02, parity["self_ratio_high"])
    assert low <= parity["ratio_median"] <= high
    assert report["md"]["steps"] == 40_000
    assert abs(report["md"]["nve_drift_mev_per_atom_per_ps"]) < 0.1
