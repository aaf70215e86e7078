"""Checkpoints and exported models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from idle_md import Calculator
from idle_md.data import load as load_data
from idle_md.deploy import export_checkpoint, load
from idle_md.nn import load_checkpoint
from idle_md.train import predictive_std

CHECKPOINTS = ("painn", "hipnn", "gmnn", "adapted")
MODELS = ("painn-float64", "painn-hidden", "hipnn-float32", "gmnn-float64", "committee")
WITH_OPERATORS = ("painn-float64", "painn-hidden", "committee")


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint(files, numbers, structures, assert_same, name, tmp_path) -> None:
    path, kept = files / f"checkpoints/{name}.ckpt", numbers["checkpoints"][f"{name}.ckpt"]
    potential, about = load_checkpoint(path)
    dtype = potential.dtype
    assert (about["target"], str(dtype)) == (kept["target"], f"torch.{kept['dtype']}")
    assert list(potential.fidelities) == kept["fidelities"]
    for fidelity, values in kept["values"].items():
        export_checkpoint(path, fidelity, tmp_path / "model.pt")
        model = load(tmp_path / "model.pt", kernels="portable")
        for structure, expected in values.items():
            assert_same(*model.evaluate(*structures[structure]), expected, dtype)


def test_predictive_variance(files, numbers) -> None:
    store = load_data(files / "training.extxyz.gz").select(numbers["predictive_std_on"])
    with pytest.raises(ValueError, match=r"adapted by version 0\.1.*adapt it again"):
        predictive_std(files / "checkpoints/adapted.ckpt", store)


@pytest.mark.parametrize(
    ("name", "kernels"),
    [(name, "portable") for name in MODELS] + [(name, "native") for name in WITH_OPERATORS],
)
def test_model(files, numbers, structures, assert_same, name, kernels) -> None:
    path, kept = files / f"models/{name}.pt", numbers["models"][f"{name}.pt"]
    model = native(path) if kernels == "native" else load(path, kernels=kernels)
    dtype = getattr(torch, kept["dtype"])
    assert (model.dtype, model.metadata.members) == (dtype, kept["members"])
    for structure, expected in kept["values"].items():
        assert_same(*model.evaluate(*structures[structure]), expected, dtype)
        if kept["members"] > 1:
            energies, forces = model.evaluate_members(*structures[structure])
            for k in range(kept["members"]):
                member = {key: value[k] for key, value in expected["members"].items()}
                assert_same(energies[k], forces[k], member, dtype)


def native(path: Path):
    try:
        return load(path, kernels="native")
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("structure", ["molecule", "crystal"])
def test_model_in_ase(files, numbers, structures, assert_same, structure) -> None:
    z, positions, cell, pbc = structures[structure]
    atoms = Atoms(
        z, positions, cell=cell, pbc=pbc, calculator=Calculator(files / "models/committee.pt")
    )
    kept = numbers["models"]["committee.pt"]["values"][structure]
    assert_same(atoms.get_potential_energy(), atoms.get_forces(), kept, torch.float32)
    spread = np.std(kept["members"]["energy"], ddof=1)
    assert atoms.calc.get_property("energy_std", atoms) == pytest.approx(spread, rel=1e-4)
