"""The trivial baseline, where errors come from, and drawings."""

import re
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest

from idle_md.data import Store
from idle_md.report.baseline import NoSharedLabelsError, TrivialBaseline, verdict
from idle_md.report.breakdown import by_element, by_group, by_temperature
from idle_md.report.drawing import MOST, draw_structure
from idle_md.report.held_out import HeldOut, held_out
from idle_md.report.run import open_run
from idle_md.train import parse_config
from idle_md.train.errors import Errors


@pytest.fixture(scope="module")
def held(idle: Path) -> HeldOut:
    [found] = [each for each in held_out(open_run(idle)) if each.fidelity == "wb97x"]
    return found


def errors(energy: float, relative: float | None, force: float | None) -> Errors:
    return {
        "energy_mae_mev": energy,
        "energy_mae_mev_per_atom": energy / 10,
        "relative_energy_mae_mev": relative,
        "force_mae_mev_per_angstrom": force,
        "n_energies": 10,
        "n_forces": 10,
    }


def test_verdict_is_honest() -> None:
    baseline = errors(200, 50, 200)
    assert verdict("It", errors(50, 40, 180), "xtb", baseline) == (
        "It beat the trivial baseline (xtb plus fitted reference energies): its energy errors are "
        "75% smaller, relative energy errors are 20% smaller, force errors are 10% smaller."
    )
    assert "It beat in part the" in verdict("It", errors(50, 60, 180), "xtb", baseline)
    assert "It did not beat the" in verdict("It", errors(201, 51, 201), "xtb", baseline)
    two = errors(50, 40, 180) | {"n_energies": 2, "n_forces": 1}
    assert verdict("It", two, "xtb", baseline).endswith("smaller. Only 2 geometries were held out.")
    text = verdict("It", errors(201, 0.0, None), "xtb", errors(200, 0.0, None))
    assert text.endswith(": its energy errors are less than 1% larger.")


def test_baseline_is_fitted_to_what_training_may_use(make_settings: Any, tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    fitted = TrivialBaseline.fitted(parse_config(settings), "gfn2")
    fewer = TrivialBaseline.fitted(parse_config(settings), "gfn2", validation=False)
    assert (fitted.shift != fewer.shift).any()  # two of the labels were for validation
    store = Store.read(settings["data"]["store"])
    part = store.select(np.flatnonzero((store.role == "test") & store.has_energy("wb97x")))
    shifted = part.labels_of("gfn2").energy + part.element_counts(fitted.elements) @ fitted.shift
    expected = 1e3 * np.abs(shifted - part.labels_of("wb97x").energy).mean()
    assert fitted.errors(part)[0]["energy_mae_mev"] == pytest.approx(expected)
    store.labels["gfn2"].energy[store.has_energy("wb97x")] = np.nan
    store.write(tmp_path / "apart.h5")
    settings["data"]["store"] = str(tmp_path / "apart.h5")
    with pytest.raises(NoSharedLabelsError):
        TrivialBaseline.fitted(parse_config(settings), "gfn2")


def test_parts_add_up_to_the_whole(held: HeldOut) -> None:
    whole = held.errors
    elements = by_element(held)
    assert [line.name for line in elements] == ["H", "C", "N", "O"]
    atoms = [line.count for line in elements]
    forces = [line.force or 0.0 for line in elements]
    assert np.average(forces, weights=atoms) == pytest.approx(whole["force_mae_mev_per_angstrom"])
    groups, more = by_group(held)
    assert ({line.name for line in groups}, more) == ({"methanol", "methylamine"}, 0)
    assert (groups[0].force or 0.0) >= (groups[1].force or 0.0)
    temperatures = by_temperature(held)
    assert [line.name for line in temperatures] == ["300 K", "600 K", "1000 K"]
    for lines in (groups, temperatures):
        counts = [line.count for line in lines]
        for name, key in (("energy", "energy_mae_mev"), ("relative", "relative_energy_mae_mev")):
            means = [getattr(line, name) for line in lines]
            assert np.average(means, weights=counts) == pytest.approx(whole[key])  # type: ignore[literal-required]


def test_many_temperatures_are_intervals(held: HeldOut) -> None:
    held.store.info["temperature_K"] = np.array([np.nan, *np.linspace(100, 700, 9)])
    lines = by_temperature(held)
    assert [line.name for line in lines][:2] == ["100 to 200 K", "200 to 300 K"]
    assert lines[-1].name == "not given"
    assert sum(line.count for line in lines) == 10


def test_large_structures_are_drawn_around_the_worst_atom() -> None:
    grid = np.stack(np.meshgrid(*3 * [np.arange(5)]), -1).reshape(-1, 3)
    atoms = ase.Atoms(numbers=[8] * 125, positions=3.0 * grid, cell=3 * [15.0], pbc=True)
    vectors = np.zeros((125, 3))
    vectors[7] = [0, 0, 1]
    drawn = draw_structure(atoms, vectors)
    assert len(re.findall('id="patch_', drawn)) == 1 + MOST  # and the background
