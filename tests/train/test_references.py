"""Reference energies by choice: fitted, of isolated atoms, or given, as lone atoms then have."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from rich.console import Console

import idle_md
from idle_md import deploy
from idle_md.data import Labels, Store, from_atoms, join, load
from idle_md.data.reference_energies import isolated_energies
from idle_md.nn import BACKBONES, Potential, load_checkpoint, save_checkpoint
from idle_md.train import parse_config, train
from idle_md.train.references import given_references
from idle_md.train.run import opened_folder
from idle_md.train.stages.closed_form import base_level
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import build_task

ATOMS = {"H": -11.0, "C": -48.0, "N": -71.0, "O": -102.0}  # near those of GFN2-xTB
HIGH = {"H": -13.6, "C": -1027.6, "N": -1483.1, "O": -2039.7}
NUMBERS = [1, 6, 7, 8]


def lone(symbols: list[str], energies: dict[str, dict[str, float]], **box: Any) -> Store:
    """One-atom geometries with energies by level and element."""
    images = [Atoms(symbol, **box) for symbol in symbols]
    store = from_atoms(images, symbols, "train")
    labels = {}
    for level, by_element in energies.items():
        values = np.array([by_element.get(symbol, np.nan) for symbol in symbols])
        labels[level] = Labels(values, np.full((len(images), 3), np.nan, np.float32))
    return replace(store, labels=labels)


@pytest.fixture
def with_atoms(small_store: Path, tmp_path: Path) -> Callable[..., str]:
    """The shared data set and some one-atom geometries."""

    def make(symbols: str = "HCNO", **energies: dict[str, float]) -> str:
        path = tmp_path / "with_atoms.h5"
        store, atoms = load(str(small_store)), lone(list(symbols), energies)
        levels = {name: store.manifest.levels[name] for name in energies}
        atoms.manifest = atoms.manifest.model_copy(update={"levels": levels})
        join([store, atoms]).write(path)
        return str(path)

    return make


def config(settings: dict[str, Any], store: str | None = None, **changes: Any) -> Any:
    data = settings["data"] if store is None else {**settings["data"], "store": store}
    return parse_config({**settings, "data": data, **changes})


def lone_energies(path: Path, **options: Any) -> np.ndarray:
    found = idle_md.predict(path, [Atoms([number]) for number in NUMBERS], **options)
    return np.array([each.energy for each in found])


@pytest.mark.parametrize("name", [*BACKBONES, "toy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.usefixtures("toy_backbone")
def test_lone_atoms_of_an_anchored_model_have_their_reference_energies(
    make_potential, tmp_path, name, dtype
) -> None:
    potential = make_potential(name=name, dtype=dtype)
    plain = potential.alone("high")
    water = Atoms("H2O", [[0.9, 0, 0], [-0.3, 0.9, 0], [0, 0, 0]])
    potential.anchored = ["high"]
    references = potential.reference_energies[NUMBERS, 1].numpy()
    save_checkpoint(tmp_path / "a.ckpt", potential, {"target": "high"})
    read = load_checkpoint(tmp_path / "a.ckpt")[0]
    assert read.anchored == ["high"]
    energies = {}
    for key, each in (
        ("plain", plain),
        ("anchored", read),
        ("alone", read.alone("high")),
        ("unanchored", read.unanchored()),
    ):
        path = tmp_path / f"{key}.pt"
        deploy.save(deploy.extract(each, "high"), path, deploy.describe(each, "high"))
        energies[key] = idle_md.predict(path, [water])[0].energy
        if key in ("anchored", "alone"):
            for kernels in ("auto", "portable"):
                found = lone_energies(path, kernels=kernels)
                tolerance = 1e-12 if dtype == torch.float64 else 1e-6
                np.testing.assert_allclose(found, references, rtol=0, atol=tolerance)
    assert abs(lone_energies(tmp_path / "plain.pt") - references).min() > 1e-3
    assert abs(energies["plain"] - energies["anchored"]) > 1e-3
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    assert energies["alone"] == pytest.approx(energies["anchored"], abs=tolerance)
    assert energies["unanchored"] == pytest.approx(energies["anchored"], abs=tolerance)


def test_a_committee_of_anchored_members_agrees_too(make_potential, tmp_path) -> None:
    members = [make_potential(seed=k) for k in range(2)]
    for each in members:
        each.anchored = ["high"]
        each.reference_energies[NUMBERS, 1] = torch.tensor([*HIGH.values()], dtype=torch.float64)
    path = tmp_path / "committee.pt"
    core = deploy.extract_committee(members, "high")
    deploy.save(core, path, deploy.describe(members, "high"))
    np.testing.assert_allclose(lone_energies(path), [*HIGH.values()], rtol=0, atol=1e-10)


def test_the_potential_that_is_trained_is_anchored_itself(make_potential) -> None:
    potential = make_potential()
    potential.anchored = ["low"]
    numbers = torch.tensor(NUMBERS)
    nothing = torch.zeros((2, 0), dtype=torch.int64), torch.zeros((0, 3), dtype=torch.float64)
    residual = potential.residual(numbers, *nothing)
    assert residual[:, 0].abs().max() == 0
    assert residual[:, 1].abs().min() > 1e-3


@pytest.mark.parametrize("method", ["single", "idle", "transfer"])
def test_trained_models_have_lone_atoms_as_given(
    settings: dict[str, Any], with_atoms, tmp_path: Path, method: str
) -> None:
    store = with_atoms(gfn2=ATOMS)
    changes: dict[str, Any] = {
        "reference_energies": {"wb97x": HIGH, "gfn2": "isolated"},
        "method": {"name": method},
        "budget": {"steps": 6, "validate_every": 3},
    }
    if method == "transfer":
        short = {"budget": {"steps": 4, "validate_every": 2}}
        changes["method"] |= {"source": "gfn2", "finetune": short}
    folder = train(config(settings, store, **changes))
    idle_md.export(folder, None, tmp_path / "high.pt")
    wanted = [HIGH[symbol] for symbol in ("H", "C", "N", "O")]
    known = np.array(idle_md.load(tmp_path / "high.pt").metadata.elements)
    found = idle_md.predict(tmp_path / "high.pt", [Atoms([number]) for number in known])
    expected = [wanted[NUMBERS.index(number)] for number in known]
    np.testing.assert_allclose([e.energy for e in found], expected, rtol=0, atol=1e-6)
    if method == "idle":
        idle_md.export(folder, "gfn2", tmp_path / "low.pt")
        np.testing.assert_allclose(
            lone_energies(tmp_path / "low.pt"), [*ATOMS.values()], rtol=0, atol=1e-6
        )


def test_an_anchored_model_learns_as_a_fitted_one(
    settings: dict[str, Any], small_store: Path, tmp_path: Path
) -> None:
    """Bonds of all energies are left to the network, and it learns them."""
    low = {"labels": {"gfn2": ["energy", "forces"]}, "target": "gfn2", "method": "single"}
    data = {**settings["data"], "budgets": {}}
    errors = {}
    for name, references in (("fit", "fit"), ("given", ATOMS)):
        changes = {"out": str(tmp_path / name), "data": data, "reference_energies": references}
        folder = train(parse_config({**settings, **low, **changes}))
        _, about = load_checkpoint(folder / "best.ckpt")
        errors[name] = about["validation"]["score"]
    assert errors["given"] < 2 * errors["fit"]


def test_the_manifest_has_them_too(settings: dict[str, Any], tmp_path: Path) -> None:
    store = load(settings["data"]["store"])
    level = store.manifest.levels["wb97x"].model_copy(update={"isolated_atoms_ev": HIGH})
    levels = {**store.manifest.levels, "wb97x": level}
    store.manifest = store.manifest.model_copy(update={"levels": levels})
    store.write(tmp_path / "a.h5")
    assert isolated_energies(store, "wb97x", 4.0) == dict(zip(NUMBERS, HIGH.values(), strict=True))
    by_level = {"reference_energies": {"wb97x": "isolated"}}
    task = build_task(config(settings, str(tmp_path / "a.h5"), **by_level))
    potential = untrained_potential(task)
    assert potential.anchored == ["wb97x"]
    wanted = [HIGH[symbol] for symbol in ("H", "C", "O")]
    assert potential.reference_energies[[1, 6, 8], 1].tolist() == wanted
    assert given_references(task, "gfn2") is None


def test_a_missing_element_is_named_with_the_remedy(settings: dict[str, Any], with_atoms) -> None:
    store = with_atoms(symbols="HO", gfn2=ATOMS)
    task = build_task(config(settings, store, reference_energies={"gfn2": "isolated"}))
    with pytest.raises(ValueError, match=r"no 'gfn2' energy of isolated C, N: .*--isolated-atoms"):
        untrained_potential(task)
    task = build_task(config(settings, reference_energies={"H": -13.6, "C": -1027.6}))
    with pytest.raises(ValueError, match=r"no 'gfn2' energy of isolated N, O"):
        untrained_potential(task)


def test_energies_of_another_kind_are_noticed(settings: dict[str, Any]) -> None:
    hartree = {symbol: energy / 27.2 for symbol, energy in HIGH.items()}
    task = build_task(config(settings, reference_energies={"wb97x": hartree}))
    with pytest.raises(ValueError, match=r"'wb97x' energies are -\d+\.?\d* eV per atom from"):
        untrained_potential(task)


def test_crystals_of_one_atom_and_ions_are_no_isolated_atoms() -> None:
    cell = lone(["H"], {"low": {"H": -9.0}}, cell=[3.0] * 3, pbc=True)
    wide = lone(["H"], {"low": {"H": -11.0}}, cell=[9.0] * 3, pbc=True)
    ion = lone(["H"], {"low": {"H": 0.0}})
    ion.charge[:] = 1
    assert isolated_energies(join([cell, wide, ion]), "low", 4.0) == {1: -11.0}
    other = lone(["H"], {"low": {"H": -11.5}})
    with pytest.raises(ValueError, match=r"isolated H has 'low' energies from -11\.5.* to -11\.0"):
        isolated_energies(join([wide, other]), "low", 4.0)


def test_fit_says_where_isolated_atoms_are_far_from_it(
    settings: dict[str, Any], with_atoms
) -> None:
    store = with_atoms(gfn2=ATOMS)
    budget = {"steps": 2, "validate_every": 2}
    console = Console(record=True, width=400)
    train(config(settings, store, budget=budget), console=console)
    printed = console.export_text()
    assert "isolated atoms of 'gfn2' in the data are far from the fitted" in printed
    assert "set reference_energies: isolated" in printed
    console = Console(record=True, width=400)
    out = {"out": settings["out"] + "-other"}
    train(config(settings, budget=budget, **out), console=console)
    assert "isolated atoms" not in console.export_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference_energies": "isolate"}, r"'isolate' is none of fit, isolated and numbers"),
        ({"reference_energies": {"wb97x": ["H"]}}, r"\['H'\] is none of fit"),
        ({"reference_energies": {"wb97": "isolated"}}, r"names 'wb97', which labels does not use"),
        ({"reference_energies": {"h": -13.6}}, r"unknown element 'h': write 'H'"),
        ({"reference_energies": {"wb97x": {"Xx": 1}}}, r"unknown element 'Xx'"),
        (
            {
                "reference_energies": "isolated",
                "method": {"name": "delta", "low_level": "gfn2"},
            },
            r"the method delta fits those of its target 'wb97x'",
        ),
        (
            {
                "reference_energies": HIGH,
                "method": {"name": "adapt", "source": "gfn2", "checkpoint": "a.ckpt"},
            },
            r"the method adapt fits those of its target 'wb97x': leave them out, or give those",
        ),
    ],
)
def test_wrong_choices_are_errors(settings: dict[str, Any], changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        config(settings, **changes)
    source = {"name": "adapt", "source": "gfn2", "checkpoint": "a.ckpt"}
    config(settings, reference_energies={"gfn2": "isolated"}, method=source)


def test_adapt_starts_from_an_anchored_model_as_from_any(make_potential) -> None:
    potential: Potential = make_potential()
    potential.anchored = ["low"]
    numbers = torch.tensor([8, 1, 1])
    edges = torch.tensor([[0, 0, 1, 2], [1, 2, 0, 0]])
    bonds = torch.tensor([[0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]], dtype=torch.float64)
    inputs = numbers, edges, torch.cat([bonds, -bonds])
    base = base_level(potential, {"target": "high"}, "low", "third")
    assert base.anchored == []
    torch.testing.assert_close(base(*inputs)[:, 0], potential(*inputs)[:, 0], rtol=0, atol=1e-10)


def test_a_run_that_was_begun_before_these_settings_is_resumed(settings: dict[str, Any]) -> None:
    settings["loss"] = {"gfn2": {"forces": 0.5}}
    file = opened_folder(parse_config(settings), resume=False).config_file
    old = yaml.safe_load(file.read_text())
    del old["reference_energies"], old["loss"]["gfn2"]["stress"]
    file.write_text(yaml.safe_dump(old))
    opened_folder(parse_config(settings), resume=True)
    for changed in ({"reference_energies": "isolated"}, {"loss": {"gfn2": {"stress": 2.0}}}):
        file.write_text(yaml.safe_dump(old))
        with pytest.raises(ValueError, match="changed since it was started"):
            opened_folder(parse_config({**settings, **changed}), resume=True)


def test_compiling_is_for_fitted_reference_energies(settings: dict[str, Any]) -> None:
    given = config(settings, reference_energies={"wb97x": HIGH}, compile=True)
    with pytest.raises(ValueError, match=r"those of wb97x are isolated or given: set compile"):
        train(given)
