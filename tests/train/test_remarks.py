"""What is said of labels before a training, and what is refused."""

from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest

from idle_md.data import Labels, Store, join
from idle_md.deploy.export import export_checkpoint
from idle_md.terminal import make_console
from idle_md.train import parse_config, train
from idle_md.train.errors import errors_of_potential
from idle_md.train.remarks import remarks
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import build_task


@pytest.fixture
def changed(settings: dict[str, Any], small_store, tmp_path):
    """Settings of a store that a function has changed, with all labels."""

    def make(change) -> dict[str, Any]:
        path = tmp_path / "changed.h5"
        change(Store.read(small_store)).write(path)
        return {**settings, "data": {**settings["data"], "store": str(path), "budgets": {}}}

    return make


def without_nitrogen_at_the_target(store: Store) -> Store:
    labels = store.labels_of("wb97x")
    energy = np.where(store.group == "methylamine", np.nan, labels.energy)
    return replace(store, labels={**store.labels, "wb97x": Labels(energy, labels.forces)})


@pytest.mark.parametrize("method", ["single", "idle"])
def test_a_level_knows_the_elements_of_its_own_labels_alone(changed, tmp_path, method) -> None:
    settings = changed(without_nitrogen_at_the_target)
    settings |= {"method": method, "budget": {"steps": 2, "validate_every": 1}}
    printed = StringIO()
    config = parse_config(settings)
    folder = train(config, console=make_console(file=printed))
    assert export_checkpoint(folder, None, tmp_path / "model.pt").elements == [1, 6, 8]
    task = build_task(config)
    train_part = task.splits["train"]
    amines = int((task.store.group[train_part] == "methylamine").sum())
    said = f"{amines} geometries with N have no label of 'wb97x': it does not know N"
    assert (said in " ".join(printed.getvalue().split())) == (method == "idle")
    potential = untrained_potential(task)
    if method == "idle":
        assert potential.elements_of("gfn2") == [1, 6, 7, 8]
    whole = Store.read(settings["data"]["store"])
    assert (
        errors_of_potential(potential, whole, "wb97x")[0]["n_energies"]
        == np.isfinite(whole.labels["wb97x"].energy).sum()
    )


def test_an_element_without_forces_at_the_target_is_unknown_to_it(changed) -> None:
    """The same where a level is labelled with forces and energies of other geometries."""

    def change(store: Store) -> Store:
        labels = store.labels_of("wb97x")
        energy = np.where(store.group == "methanol", np.nan, labels.energy)
        rows = np.repeat(store.group == "methanol", store.n_atoms)
        forces = np.where(rows[:, None], np.nan, labels.forces).astype(np.float32)
        return replace(store, labels={**store.labels, "wb97x": Labels(energy, forces)})

    settings = changed(change)
    settings["labels"] = {"gfn2": ["energy"], "wb97x": ["energy", "forces"]}
    assert untrained_potential(build_task(parse_config(settings))).elements_of("wb97x") == [1, 6, 7]


def test_the_same_nuclei_with_two_charges_are_refused(changed) -> None:
    def change(store: Store) -> Store:
        charged = store.select(np.flatnonzero(store.role != "test")[:3])
        charged.charge = charged.charge + 2
        charged.labels["gfn2"].energy[:] += 15.0
        return join([store, charged])

    with pytest.raises(
        ValueError, match=r"the same nuclei, .* differ by 15 eV.* charges are 0 and"
    ):
        build_task(parse_config(changed(change)))


def test_copies_with_two_energies_are_refused_and_equal_ones_are_not(changed) -> None:
    def change(store: Store, shift: float) -> Store:
        copied = store.select(np.flatnonzero(store.role == "train")[:3])
        copied.positions = -copied.positions + 0.3
        copied.labels["gfn2"].energy[1] += shift
        return join([store, copied])

    build_task(parse_config(changed(lambda store: change(store, 1e-3))))
    with pytest.raises(ValueError, match="remove the wrong one"):
        build_task(parse_config(changed(lambda store: change(store, -1.0))))


def test_charges_of_one_formula_and_near_copies_of_tests_are_named(changed) -> None:
    def change(store: Store) -> Store:
        charge = np.where(np.arange(store.n_geometries) % 2, 2, 0)
        tested = store.select(np.flatnonzero(store.role == "test")[:4])
        tested.positions = np.round(tested.positions, 2)
        tested.role = np.full(4, "train")
        tested.charge[:] = 0
        return join([replace(store, charge=charge), tested])

    said = list(remarks(build_task(parse_config(changed(change)))))
    assert any("2 formulae, such as that of" in each and "(0 and 2)" in each for each in said)
    assert any("4 of 10 test geometries are within 0.01 angstrom" in each for each in said)


def test_nothing_is_said_of_a_set_without_surprises(changed) -> None:
    assert list(remarks(build_task(parse_config(changed(lambda store: store))))) == []
