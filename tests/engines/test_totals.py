"""Energies of large systems keep their digits; those relative to lone atoms have fewer to keep."""

import importlib.util

import ase
import numpy as np
import pytest
import torch

import idle_md
from idle_md import deploy
from idle_md.engines.lammps.process import why_not
from idle_md.engines.lammps.single_point import evaluate_lammps
from idle_md.engines.parity.structures import grid
from idle_md.units import KJ_PER_MOL

TOTAL = 1e5  # eV, where neighbouring numbers of float32 are 0.008 apart
STEPS = np.linspace(0, 0.03, 7)  # angstrom


def calculator(path, structures) -> list[float]:
    made = idle_md.Calculator(path)
    return [made.get_potential_energy(atoms) for atoms in structures]


def predict(path, structures) -> list[float]:
    return [each.energy for each in idle_md.predict(path, structures)]


def lammps(path, structures) -> list[float]:
    if why_not() is not None:
        pytest.skip(str(why_not()))
    return [evaluate_lammps(path, atoms).energy for atoms in structures[::3]]


def torch_sim(path, structures) -> list[float]:
    package = pytest.importorskip("torch_sim", reason="torch-sim-atomistic is not installed")
    from idle_md.engines.torch_sim import TorchSimModel

    model = TorchSimModel(path)
    states = (
        package.io.atoms_to_state([atoms], model.device, torch.float64) for atoms in structures
    )
    return [float(model(state)["energy"]) for state in states]


@pytest.mark.parametrize("engine", [calculator, predict, lammps, torch_sim])
def test_small_differences_of_large_energies(engine, model_file) -> None:
    path = model_file(dtype=torch.float32)
    structures = []
    for step in STEPS:
        atoms = grid((6, 6, 6), 2.4)
        atoms.positions[0, 0] += step
        structures.append(atoms)
    energies = np.array(engine(path, structures))
    assert abs(energies).min() > TOTAL
    exact = np.array(
        [each.energy for each in idle_md.predict(path, structures, dtype=torch.float64)]
    )
    exact = exact[:: (len(exact) - 1) // (len(energies) - 1)]
    assert np.ptp(exact) > 1e-3
    np.testing.assert_allclose(energies - energies[0], exact - exact[0], atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("name", "kernels"), [("painn", "native"), ("painn", "portable"), ("gmnn", "portable")]
)
def test_lone_atoms_have_no_relative_energy(name, kernels, dtype, model_file) -> None:
    path = model_file(name=name)
    model = deploy.load(path, dtype=dtype, kernels=kernels, relative=True)
    far = ase.Atoms("HCNO", np.eye(4, 3) * 50)
    far.calc = idle_md.Calculator(model)
    np.testing.assert_allclose(far.get_potential_energies(), 0.0, atol=1e-12)
    for each in idle_md.predict(model, map(ase.Atoms, "HCNO")):
        assert each.energy == pytest.approx(0.0, abs=1e-12)


def test_relative_energies_differ_by_lone_atoms_alone(model_file, committee_file) -> None:
    atoms = grid((3, 2, 2), 2.4)
    for path in (model_file(), committee_file()):
        alone = idle_md.predict(path, [ase.Atoms([z]) for z in atoms.numbers])
        total, relative = (idle_md.Calculator(path, relative=each) for each in (False, True))
        for calc in (total, relative):
            calc.calculate(atoms)
        lone = np.array([each.energy for each in alone])
        assert abs(lone.sum()) > 100
        found, wanted = relative.results, total.results
        assert found["energy"] == pytest.approx(wanted["energy"] - lone.sum(), abs=1e-8)
        np.testing.assert_allclose(found["energies"], wanted["energies"] - lone, atol=1e-9)
        np.testing.assert_array_equal(found["forces"], wanted["forces"])


def test_relative_energies_are_the_same_in_openmm(model_file) -> None:
    """Also without reference energies, of which there are none left to take away."""
    pytest.importorskip("openmm", reason="OpenMM is not installed")
    from idle_md.engines.openmm.module import Attachment, OpenMMModule

    atoms = grid((3, 2, 2), 2.4, pbc=False)
    numbers, model = atoms.numbers.tolist(), deploy.load(model_file(), relative=True)
    [wanted] = idle_md.predict(model, [atoms])
    for energy in ("total", "interaction"):
        attached = Attachment(numbers, list(range(len(atoms))), False, energy=energy)
        found, _ = OpenMMModule(model, attached)(torch.from_numpy(atoms.positions) / 10)
        assert float(found) * KJ_PER_MOL == pytest.approx(wanted.energy, abs=1e-8)


def test_every_way_to_openmm_takes_relative(model_file) -> None:
    """The force, one that names the model's file in XML, and openmm-ml's plug-in."""
    openmm = pytest.importorskip("openmm", reason="OpenMM is not installed")
    from idle_md.engines.openmm import create_force

    atoms, path = grid((3, 2, 2), 2.4, pbc=False), model_file()
    [wanted] = idle_md.predict(path, [atoms], relative=True)
    numbers = atoms.numbers.tolist()

    def energy_of(system) -> float:
        integrator = openmm.VerletIntegrator(0.001)
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(system, integrator, platform)
        context.setPositions(atoms.positions / 10)
        return context.getState(energy=True).getPotentialEnergy()._value

    def system_with(force) -> openmm.System:
        system = openmm.System()
        for mass in atoms.get_masses():
            system.addParticle(mass)
        system.addForce(force)
        return system

    plain = create_force(path, numbers, backend="pythonforce", relative=True)
    named = create_force(path, numbers, backend="pythonforce", relative=True, embed=False)
    text = openmm.XmlSerializer.serialize(system_with(named))
    systems = [system_with(plain), openmm.XmlSerializer.deserialize(text)]
    if importlib.util.find_spec("openmmml") is not None:
        from openmmml import MLPotential

        topology = openmm.app.Topology()
        residue = topology.addResidue("X", topology.addChain())
        for symbol in atoms.get_chemical_symbols():
            element = openmm.app.Element.getBySymbol(symbol)
            topology.addAtom(symbol, element, residue)
        potential = MLPotential("idle-md", modelPath=str(path), relative=True)
        systems.append(potential.createSystem(topology, backend="pythonforce"))
    for system in systems:
        assert energy_of(system) * KJ_PER_MOL == pytest.approx(wanted.energy, abs=1e-6)


def test_relative_energies_are_refused_where_they_cannot_be_had(
    make_potential, model_file, tmp_path
):
    model = deploy.load(model_file())
    with pytest.raises(ValueError, match=r"load it with `idle_md.load\(path, relative=True\)`"):
        idle_md.Calculator(model, relative=True)
    potential = make_potential()
    described = deploy.describe(potential, "high", delta_on="gfn2")
    deploy.save(deploy.extract(potential, "high"), tmp_path / "delta.pt", described)
    with pytest.raises(ValueError, match="whose lone atoms it does not know"):
        deploy.load(tmp_path / "delta.pt", relative=True)
