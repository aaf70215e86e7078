"""Many structures in one call: the numbers of one after the other."""

import ase
import ase.build
import numpy as np
import pytest
import torch

import idle_md
from idle_md import deploy
from idle_md.engines.parity.structures import SAMPLES
from idle_md.tolerances import LOOSER_FOR_ATOMS, RELATIVE
from tests.engines.lammps.systems import assert_close


@pytest.fixture(scope="module")
def structures() -> list[ase.Atoms]:
    return [make((1, 6, 7, 8)) for make in SAMPLES.values()]


def assert_same_as_the_loop(found, model, structures) -> None:
    tolerance = RELATIVE[model.dtype]
    calculator = idle_md.Calculator(model)
    for one, atoms in zip(found, structures, strict=True):
        calculator.calculate(atoms)
        wanted = calculator.results
        assert abs(one.energy - wanted["energy"]) <= tolerance * len(atoms)
        assert np.abs(one.energies - wanted["energies"]).max() <= LOOSER_FOR_ATOMS * tolerance
        assert_close(one.forces, wanted["forces"], tolerance)
        assert (one.stress is None) == (not atoms.pbc.all())
        if one.stress is not None:
            volume = atoms.get_volume()
            assert_close(one.stress * volume, wanted["stress"] * volume, tolerance)


@pytest.mark.parametrize("kernels", ["native", "portable"])
@pytest.mark.parametrize("dtype", RELATIVE)
def test_batches_of_any_size_give_the_numbers_of_a_loop(
    kernels, dtype, model_file, structures
) -> None:
    model = deploy.load(model_file(dtype=dtype), kernels=kernels)
    for edges in (1, 3000, 10**6):
        found = idle_md.predict(model, structures, edges_per_call=edges)
        assert_same_as_the_loop(found, model, structures)


@pytest.mark.parametrize("name", ["hipnn", "gmnn"])
def test_every_backbone(name, model_file, structures) -> None:
    path = model_file(name=name)
    assert_same_as_the_loop(idle_md.predict(path, structures), deploy.load(path), structures)


def test_committee_gives_its_mean(committee_file, structures) -> None:
    path = committee_file()
    assert_same_as_the_loop(idle_md.predict(path, structures), deploy.load(path), structures)


def test_calls_are_bounded_by_edges(model_file) -> None:
    model = deploy.load(model_file(), kernels="portable")
    sizes = []

    class Counted:
        def __call__(self, species, edge_index, vectors, n_owned):
            sizes.append((n_owned, edge_index.shape[1]))
            return model.core(species, edge_index, vectors, n_owned)

    counting = deploy.DeployedModel(Counted(), model.metadata, model.device, model.dtype)
    ethanol = ase.build.molecule("CH3CH2OH")
    edges = model.inputs(ethanol.numbers, ethanol.positions)[1].shape[1]
    results = idle_md.predict(counting, (ethanol for _ in range(7)), edges_per_call=3 * edges)
    assert sizes == [(27, 3 * edges), (27, 3 * edges), (9, edges)]
    assert len({round(each.energy, 9) for each in results}) == len({len(results)}) == 1
    assert idle_md.predict(counting, []) == []


def test_bad_structure_is_named(model_file) -> None:
    good, unknown = ase.build.molecule("CH3CH2OH"), ase.build.molecule("CH3Cl")
    with pytest.raises(ValueError, match=r"structure 1 \(CClH3\): the model does not know Cl"):
        idle_md.predict(model_file(), [good, unknown])
    broken = good.copy()
    broken.positions[3] = np.nan
    with pytest.raises(ValueError, match=r"structure 2 .*the position of atom 3 is not a number"):
        idle_md.predict(model_file(), [good, good, broken])


def test_explicit_difference_is_refused(make_potential, tmp_path) -> None:
    potential = make_potential()
    described = deploy.describe(potential, "high", delta_on="gfn2")
    deploy.save(deploy.extract(potential, "high"), tmp_path / "delta.pt", described)
    with pytest.raises(ValueError, match="which only the ASE calculator adds"):
        idle_md.predict(tmp_path / "delta.pt", [ase.build.molecule("H2O")])


def test_precision_can_be_chosen(model_file) -> None:
    path, atoms = model_file(), ase.build.molecule("CH3CH2OH")
    [single] = idle_md.predict(path, [atoms], dtype=torch.float32)
    [double] = idle_md.predict(path, [atoms])
    assert 1e-9 < np.abs(single.forces - double.forces).max() < 1e-3


def test_old_name_gives_the_same(model_file) -> None:
    path, atoms = model_file(), ase.build.molecule("CH3CH2OH")
    [old] = idle_md.evaluate(path, [atoms], torch.device("cpu"))
    [new] = idle_md.predict(path, [atoms])
    assert old.energy == new.energy
