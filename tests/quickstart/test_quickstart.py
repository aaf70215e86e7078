import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from idle_md.data import Store, load
from idle_md.native.operators import load_operators
from idle_md.quickstart import run
from idle_md.quickstart.run import HIGH, LOW, configuration, summary
from idle_md.quickstart.trainings import train_side_by_side
from idle_md.report.baseline import TrivialBaseline

LABELS = 20
MINUTES = 0.05


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is held out with labels of the high level, and a tenth of the rest."""
    store = load("chno-mini")
    held_out = np.isin(store.role, ["test", "ood"])
    tenth = np.arange(store.n_geometries) % 10 == 0
    kept = np.where(held_out, store.has_energy(HIGH), tenth)
    path = tmp_path_factory.mktemp("data") / "part.h5"
    store.select(np.flatnonzero(kept)).write(path)
    return path


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quickstart") / "run"
    module = sys.modules[configuration.__module__]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DATA", str(data))
        run(
            out,
            minutes=MINUTES,
            labels=LABELS,
            picoseconds=0.5,
            threads=1,
            console=Console(quiet=True),
        )
    return out


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def test_operators_are_compiled_before_they_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looking for them is done once in a process, and would find none for ever."""
    module, built = sys.modules[configuration.__module__], []
    before = load_operators.cache_info()
    monkeypatch.setattr(module, "find_library", lambda: None)
    monkeypatch.setattr(module, "has_compiler", lambda: True)
    monkeypatch.setattr(module, "build_operators", lambda: built.append(True))
    module._build_operators(Console(quiet=True))
    assert built == [True]
    assert load_operators.cache_info() == before
    monkeypatch.setattr(module, "find_library", lambda: Path("there"))
    module._build_operators(Console(quiet=True))
    assert built == [True]


def test_report_says_what_was_used(data: Path, report: dict[str, Any]) -> None:
    assert report["method"] == "adapt"
    assert report["n_high_labels"] == LABELS
    store = Store.read(data)
    trained = np.isin(store.role, ["", "train", "validation"]) & store.has_energy(LOW)
    assert report["n_low_labels"] == trained.sum()
    for name in ("single", "idle"):
        counts = report["label_counts"][name]["wb97x"]
        for kind in ("energy", "forces"):
            assert counts["train"][kind] + counts["validation"][kind] == LABELS
    single, idle = report["single"]["train_seconds"], report["idle"]["train_seconds"]
    assert 60.0 * MINUTES <= single < 60.0 * MINUTES + 10.0
    assert idle > 60.0 * MINUTES  # and the closed form


def test_errors_are_those_of_the_exported_models(
    data: Path, folder: Path, report: dict[str, Any]
) -> None:
    from idle_md.train.errors import errors_of_file

    for name in ("single", "idle"):
        found = errors_of_file(folder / f"{name}.pt", data)
        for key, value in found["test"]["wb97x"].items():
            assert report[name][key] == pytest.approx(value)
        assert report[name]["n_energies"] == 180
        assert report[name]["ood"] == pytest.approx(found["ood"]["wb97x"])
    low = report["low_level_baseline"]
    assert low["force_mae_mev_per_angstrom"] == pytest.approx(218.4, abs=0.1)


def test_dynamics_and_parity(report: dict[str, Any]) -> None:
    dynamics = report["md"]
    expected = "torchforce" if find_spec("openmmtorch") else "pythonforce"
    assert (dynamics["engine"], dynamics["backend"]) == ("openmm", expected)
    assert dynamics["steps"] == dynamics["langevin_steps"] == 1000
    assert dynamics["ns_per_day"] > 0
    assert 0.5 < report["parity"]["ratio_median"] < 2.0


def test_files(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 8  # learning curves, two of parity for each of three, energies
    assert 'src="http' not in page
    assert "IDLe" in page.split('class="summary"')[1][:200]
    for name in ("idle.pt", "single.pt", "ethanol_nve.xyz", "ethanol_nvt.xyz"):
        assert (folder / name).stat().st_size > 0
    assert not list(folder.glob("**/*.tmp"))


def test_second_run_does_not_overwrite(folder: Path) -> None:
    with pytest.raises(ValueError, match="already holds a quickstart"):
        run(folder, 0.1, 72, 0.5, 1, Console(quiet=True))


def test_failed_training_shows_its_last_words(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[configuration.__module__], "DATA", str(data))
    config = configuration("single", tmp_path, minutes=0.1, labels=10**6, threads=1)
    with pytest.raises(RuntimeError, match="training single failed") as error:
        train_side_by_side({"single": config}, Console(quiet=True))
    assert "lower it, or remove it to use all" in str(error.value)


def test_baseline_is_the_low_level_with_shifted_elements(tmp_path: Path) -> None:
    config = configuration("idle", tmp_path, minutes=1, labels=144, threads=1)
    store = load("chno-mini")
    part = store.select(np.flatnonzero((store.role == "test") & store.has_energy("wb97x")))
    errors, _ = TrivialBaseline.fitted(config, "gfn2").errors(part)
    difference = part.labels_of("wb97x").energy - part.labels_of("gfn2").energy
    counts = part.element_counts(part.elements)
    best = difference - counts @ np.linalg.lstsq(counts, difference, rcond=None)[0]
    assert errors["energy_mae_mev"] is not None
    assert errors["energy_mae_mev"] > 900 * np.abs(best).mean()  # fitted elsewhere, so no better
    assert errors["relative_energy_mae_mev"] == pytest.approx(44.3, abs=0.1)


def errors(energy: float, relative: float, force: float) -> Any:
    return {
        "energy_mae_mev": energy,
        "relative_energy_mae_mev": relative,
        "force_mae_mev_per_angstrom": force,
        "n_energies": 180,
        "n_forces": 180,
    }


def test_summary_is_honest() -> None:
    table = {
        "idle": errors(50, 40, 180),
        "single": errors(200, 160, 720),
        "low_level_baseline": errors(200, 50, 200),
    }
    text = summary(table, 144)
    assert text.startswith("IDLe beat the trivial baseline (")
    assert "energy errors are 75% smaller" in text
    assert "0.25 times in energy and 0.25 times in forces" in text
    table["idle"] = errors(50, 60, 180)
    text = summary(table, 144)
    assert text.startswith("IDLe beat in part the trivial baseline (")
    assert "relative energy errors are 20% larger" in text
    table["idle"] = errors(201, 51, 201)
    assert summary(table, 144).startswith("IDLe did not beat the trivial baseline (")
