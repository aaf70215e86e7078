"""The model of torch-sim: many systems at once."""

import ase.build
import numpy as np
import pytest
import torch

import idle_md
from idle_md.engines.edges import systems
from idle_md.engines.edges.systems import NativeSystems, OpenSystems, PortableSystems
from idle_md.engines.parity.structures import skewed, small, tiny

torch_sim = pytest.importorskip("torch_sim", reason="torch-sim-atomistic is not installed")
torch_sim_engine = pytest.importorskip("idle_md.engines.torch_sim")


@pytest.fixture(params=["native", "portable"])
def model(request, model_file):
    from idle_md.engines.torch_sim import TorchSimModel

    return TorchSimModel(model_file(), kernels=request.param)


def test_numbers_are_those_of_the_batch(model) -> None:
    structures = [skewed(), tiny(), small()]
    state = torch_sim.io.atoms_to_state(structures, model.device, model.dtype)
    expected = idle_md.predict(model.model, structures)
    for _ in range(2):  # the second with kept neighbours
        found = model(state)
        energies = [each.energy for each in expected]
        np.testing.assert_allclose(found["energy"], energies, rtol=0, atol=1e-8)
        forces = np.concatenate([each.forces for each in expected])
        np.testing.assert_allclose(found["forces"], forces, rtol=0, atol=1e-8)
        for own, each in zip(found["stress"].numpy(), expected, strict=True):
            voigt = own[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            np.testing.assert_allclose(voigt, each.stress, rtol=0, atol=1e-9)


def test_molecules_have_no_stress(model) -> None:
    molecules = [ase.build.molecule(name) for name in ("CH3CH2OH", "H2O")]
    state = torch_sim.io.atoms_to_state(molecules, model.device, model.dtype)
    found = model(state)
    expected = [each.energy for each in idle_md.predict(model.model, molecules)]
    np.testing.assert_allclose(found["energy"], expected, rtol=0, atol=1e-8)
    assert torch.isnan(found["stress"]).all()


def test_dynamics_of_replicas(model) -> None:
    replicas = [small() for _ in range(3)]
    final = torch_sim.integrate(
        system=replicas,
        model=model,
        integrator=getattr(torch_sim, "Integrator", torch_sim).nve,  # before 0.4 a function
        n_steps=20,
        temperature=50.0,
        timestep=0.0002,
    )
    assert torch.isfinite(final.positions).all()
    found = idle_md.predict(model.model, final.to_atoms())
    forces = np.concatenate([each.forces for each in found])
    np.testing.assert_allclose(final.forces, forces, rtol=0, atol=1e-7)


def test_state_may_be_a_dictionary(model) -> None:
    state = torch_sim.io.atoms_to_state([tiny()], model.device, model.dtype)
    names = ("positions", "cell", "pbc", "atomic_numbers", "system_idx")
    found = model({name: getattr(state, name) for name in names})
    torch.testing.assert_close(found, model(state), rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_open", [True, False])
def test_edges_that_are_found_where_the_model_is(model, is_open, monkeypatch) -> None:
    """As on a GPU: all pairs of molecules, and a native list of each box."""
    if not is_open and model.model.kernels != "native":
        pytest.skip("native lists are for native operators")
    molecules = [ase.build.molecule(name) for name in ("CH3CH2OH", "H2O")]
    structures = molecules if is_open else [skewed(), tiny(), small()]
    expected = model(torch_sim.io.atoms_to_state(structures, model.device, model.dtype))
    kind = OpenSystems if is_open else NativeSystems
    monkeypatch.setattr(torch_sim_engine, "lists_for", kind)
    fresh = torch_sim_engine.TorchSimModel(model.model)
    state = torch_sim.io.atoms_to_state(structures, model.device, model.dtype)
    for _ in range(2):
        found = fresh(state)
        assert isinstance(fresh._lists, kind)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-8, equal_nan=True)
    state.positions += 0.3
    other = torch_sim.io.atoms_to_state(structures[:1], model.device, model.dtype)
    torch.testing.assert_close(fresh(other)["forces"], found["forces"][: len(structures[0])])
    torch.testing.assert_close(fresh(state)["energy"], found["energy"], rtol=0, atol=1e-7)


def test_systems_on_a_gpu_need_no_list_on_the_cpu(model, monkeypatch) -> None:
    of, open_kind = systems.lists_for, ((3, 9), (False,) * 3)
    assert isinstance(of(model.model, open_kind), PortableSystems)
    monkeypatch.setattr(systems, "takes_all_pairs", lambda model, n, periodic: not periodic)
    assert isinstance(of(model.model, open_kind), OpenSystems)
    monkeypatch.setattr(type(model.model), "can_be_replayed", model.model.kernels == "native")
    lists = of(model.model, ((3, 9), (True,) * 3))
    native = model.model.kernels == "native"
    assert isinstance(lists, NativeSystems if native else PortableSystems)


def test_unknown_element_is_named(model) -> None:
    state = torch_sim.io.atoms_to_state([ase.build.bulk("Si")], model.device, model.dtype)
    with pytest.raises(ValueError, match="the model does not know Si"):
        model(state)


def test_energies_are_double_along_single_precision_dynamics(model_file) -> None:
    from idle_md.engines.torch_sim import TorchSimModel

    model = TorchSimModel(model_file(), dtype=torch.float32)
    final = torch_sim.integrate(
        system=[small(), small()],
        model=model,
        integrator=getattr(torch_sim, "Integrator", torch_sim).nve,
        n_steps=5,
        temperature=50.0,
        timestep=0.0002,
    )
    assert final.positions.dtype == final.forces.dtype == torch.float32
    assert final.energy.dtype == torch.float64
    found = idle_md.predict(model.model, final.to_atoms())
    np.testing.assert_allclose(final.energy, [each.energy for each in found], rtol=0, atol=1e-4)
