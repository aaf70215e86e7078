"""Two atoms in one place: one error from all kernels, and the other structures' numbers stay."""

import pickle

import ase
import ase.build
import numpy as np
import pytest
import torch

import idle_md
from idle_md.deploy import load
from idle_md.engines.lammps.process import LammpsError, why_not
from idle_md.engines.lammps.single_point import evaluate_lammps
from idle_md.engines.results import LeftOut, Prediction, PredictionError

SAID = r"atoms 2 \(O\) and 9 \(O\) are in one place: move one of them"


def ethanol() -> ase.Atoms:
    return ase.build.molecule("CH3CH2OH")


def with_another(
    atoms: ase.Atoms, image: tuple[int, int, int] = (0, 0, 0), by: float = 0.0
) -> ase.Atoms:
    """Return a structure with an oxygen more, in the place of an atom or of its image."""
    atoms = atoms.copy()
    place = atoms.positions[2] + np.array(image) @ atoms.cell.array + by
    return atoms + ase.Atoms("O", [place])


def boxed() -> ase.Atoms:
    atoms = ethanol()
    atoms.cell, atoms.pbc = [6.0, 7.0, 8.0], True
    return atoms


BROKEN = {
    "molecule": lambda: with_another(ethanol()),
    "box": lambda: with_another(boxed()),
    "image": lambda: with_another(boxed(), image=(0, 1, -1)),
    "rounded": lambda: with_another(boxed(), image=(0, 1, 0), by=3e-9),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(
    ("name", "kernels"),
    [("painn", "native"), ("painn", "portable"), ("hipnn", "portable"), ("gmnn", "portable")],
)
def test_calculator(name, kernels, broken, dtype, model_file) -> None:
    atoms = BROKEN[broken]()
    model = load(model_file(name=name), dtype=getattr(torch, dtype), kernels=kernels)
    atoms.calc = idle_md.Calculator(model)
    for _ in range(2):
        with pytest.raises(ValueError, match=SAID):
            atoms.get_potential_energy()
    del atoms[-1]
    assert np.isfinite(atoms.get_potential_energy())


@pytest.mark.parametrize("kernels", ["native", "portable"])
@pytest.mark.parametrize("broken", BROKEN)
def test_loaded_model(kernels, broken, model_file) -> None:
    atoms = BROKEN[broken]()
    with pytest.raises(ValueError, match=SAID):
        load(model_file(), kernels=kernels).evaluate(
            atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
        )


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_batch_keeps_the_results_of_the_others(kernels, model_file) -> None:
    good = [ethanol(), boxed(), ase.build.molecule("H2O")]
    expected = idle_md.predict(model_file(), good)
    nowhere = ethanol()
    nowhere.positions[4] = np.nan
    structures = [BROKEN["rounded"](), *good[:2], ase.build.molecule("CH3Cl"), nowhere, good[2]]
    with pytest.raises(PredictionError, match=rf"structure 0 .*{SAID}.* \(and 2 more\)") as caught:
        idle_md.predict(model_file(), structures, kernels=kernels)
    results = pickle.loads(pickle.dumps(caught.value)).results
    kinds = [LeftOut, Prediction, Prediction, LeftOut, LeftOut, Prediction]
    assert [type(each) for each in results] == kinds
    assert "structure 3 (CClH3): the model does not know Cl" in results[3].reason
    assert "position of atom 4 is not a number" in results[4].reason
    predictions = [each for each in results if isinstance(each, Prediction)]
    for found, wanted in zip(predictions, expected, strict=True):
        assert found.energy == pytest.approx(wanted.energy, abs=1e-8)
        np.testing.assert_allclose(found.forces, wanted.forces, atol=1e-8)


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_pairs_that_are_made_in_the_batch(kernels, model_file, monkeypatch) -> None:
    """As on a GPU, where kernels refuse the whole call, or give it no numbers."""
    monkeypatch.setattr("idle_md.engines.predict.takes_all_pairs", lambda model, n, periodic: True)
    good = [ethanol(), ase.build.molecule("H2O")]
    expected = idle_md.predict(model_file(), good)
    with pytest.raises(PredictionError, match=rf"structure 1 .*{SAID}") as caught:
        idle_md.predict(model_file(), [good[0], BROKEN["molecule"](), good[1]], kernels=kernels)
    first, _, last = caught.value.results
    for found, wanted in zip((first, last), expected, strict=True):
        assert found.energy == pytest.approx(wanted.energy, abs=1e-8)


def test_committee(committee_file) -> None:
    for kernels in ("native", "portable"):
        atoms = BROKEN["molecule"]()
        atoms.calc = idle_md.Calculator(committee_file(), kernels=kernels)
        with pytest.raises(ValueError, match=SAID):
            atoms.get_forces()


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_lammps(kernels, model_file) -> None:
    """Whose atoms are numbered from 1."""
    for broken in ("molecule", "rounded"):
        with pytest.raises(LammpsError, match=r"at step 0: atoms (3 and 10|10 and 3) are in one"):
            evaluate_lammps(model_file(), BROKEN[broken](), kernels=kernels)


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_torch_sim(kernels, model_file) -> None:
    torch_sim = pytest.importorskip("torch_sim", reason="torch-sim-atomistic is not installed")
    from idle_md.engines.torch_sim import TorchSimModel

    model = TorchSimModel(model_file(), kernels=kernels)
    state = torch_sim.io.atoms_to_state(
        [ethanol(), BROKEN["molecule"]()], model.device, model.dtype
    )
    with pytest.raises(ValueError, match=rf"system 1 .*{SAID}"):
        model(state)
