from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idle_md.data import Store
from idle_md.deploy import export_checkpoint
from idle_md.train import parse_config, train
from idle_md.train.errors import compare, errors_of_file, relative


@pytest.fixture
def test_part(small_store: Path) -> Store:
    store = Store.read(small_store)
    return store.select(np.flatnonzero(store.role == "test"))


def test_perfect_predictions_have_no_error(test_part: Store) -> None:
    labels = test_part.labels_of("wb97x")
    errors, parity = compare(test_part, "wb97x", labels.energy, labels.forces.astype(float))
    assert errors["energy_mae_mev"] == errors["force_mae_mev_per_angstrom"] == 0.0
    assert (errors["n_energies"], errors["n_forces"]) == (10, 10)
    np.testing.assert_array_equal(parity["force"], parity["force_label"])


def test_relative_errors_ignore_a_shift_per_molecule(test_part: Store) -> None:
    labels = test_part.labels_of("wb97x")
    methanol = test_part.group == "methanol"
    shift = np.where(methanol, 0.3, -0.1)
    wiggle = 0.02 * np.tile([1, -1, 1, -1, 0], 2)
    errors, _ = compare(test_part, "wb97x", labels.energy + shift + wiggle, labels.forces + 0.05)
    assert errors["relative_energy_mae_mev"] == pytest.approx(16.0, abs=1e-4)
    assert errors["energy_mae_mev"] == pytest.approx(np.abs(shift + wiggle).mean() * 1e3, abs=1e-4)
    expected = 1e3 * np.mean(np.abs(shift + wiggle) / test_part.n_atoms)
    assert errors["energy_mae_mev_per_atom"] == pytest.approx(expected, abs=1e-4)
    assert errors["force_mae_mev_per_angstrom"] == pytest.approx(50.0, abs=1e-3)


def test_missing_labels_do_not_count(test_part: Store) -> None:
    labels = test_part.labels_of("wb97x")
    energies, forces = labels.energy.copy(), labels.forces.astype(float)
    labels.energy[:4] = np.nan
    energies[:4] += 100.0
    errors, _ = compare(test_part, "wb97x", energies, forces)
    assert (errors["energy_mae_mev"], errors["n_energies"]) == (0.0, 6)


def test_relative() -> None:
    energies, groups = np.array([1.0, 5.0, 3.0, 7.0]), np.array(["b", "a", "b", "a"])
    np.testing.assert_array_equal(relative(energies, groups), [-1.0, -1.0, 1.0, 1.0])


def test_checkpoint_and_exported_model_have_the_same_errors(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    run = train(parse_config(settings))
    export_checkpoint(run / "best.ckpt", "wb97x", tmp_path / "model.pt")
    source = settings["data"]["store"]
    by_head = errors_of_file(run / "best.ckpt", source)
    exported = errors_of_file(tmp_path / "model.pt", source)
    assert set(by_head["test"]) == {"gfn2", "wb97x"}
    assert set(exported) == {"train", "test"}
    assert errors_of_file(tmp_path / "model.pt", source, roles=["test"]) == {
        "test": exported["test"]
    }
    with pytest.raises(ValueError, match="no geometry of role ood: it has 'test', 'train'"):
        errors_of_file(tmp_path / "model.pt", source, roles=["ood"])
    for role in exported:
        for key, value in exported[role]["wb97x"].items():
            assert value == pytest.approx(by_head[role]["wb97x"][key], rel=1e-4)  # type: ignore[literal-required]


def test_data_the_model_cannot_be_compared_with(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["budget"] = {"steps": 2, "validate_every": 2}
    run = train(parse_config({**settings, "method": "single"}))
    store = Store.read(settings["data"]["store"])
    del store.labels["wb97x"]
    del store.manifest.levels["wb97x"]
    store.write(tmp_path / "other.h5")
    with pytest.raises(ValueError, match=r"labels of .*gfn2.*predicts wb97x"):
        errors_of_file(run / "best.ckpt", tmp_path / "other.h5")
    store = Store.read(settings["data"]["store"])
    store.numbers[store.numbers == 8] = 16
    store.write(tmp_path / "sulfur.h5")
    with pytest.raises(ValueError, match=r"elements that .* does not know there: S"):
        errors_of_file(run / "best.ckpt", tmp_path / "sulfur.h5")
