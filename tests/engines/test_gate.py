"""Charges and spins that a model was not trained on: every engine says so, and none says more."""

import warnings
from types import SimpleNamespace

import ase.build
import ase.io
import numpy as np
import pytest
import torch
from openmm import app
from typer.testing import CliRunner

import idle_md
from idle_md import deploy
from idle_md.cli.main import app as commands
from idle_md.data import load
from idle_md.deploy import StateWarning, check_use
from idle_md.deploy.gate import remark_on_state
from idle_md.engines.lammps.process import why_not
from idle_md.engines.lammps.single_point import evaluate_lammps
from idle_md.engines.openmm import create_force, create_mixed_system
from idle_md.states import State, state_of

WATER = ase.build.molecule("H2O")
KNOWN = {"charges": {0: 812, 1: 30}, "multiplicities": {1: 842}}
UNSEEN = r"charge of \+2 e: the model is given no charge, and it was trained on .* 0 \(812\), \+1"
NOT_SAID = r"charge of \+2 e: .* its file does not say which charges it was trained on"


def exported(potential, folder, states) -> str:
    about = deploy.describe(potential, "high", states=states)
    deploy.save(deploy.extract(potential, "high"), folder / "model.pt", about)
    return str(folder / "model.pt")


@pytest.fixture(scope="module")
def path(make_potential, tmp_path_factory) -> str:
    return exported(make_potential(), tmp_path_factory.mktemp("known"), KNOWN)


def with_charge(charge: float) -> ase.Atoms:
    """Water, or H3O where an even number of electrons wants one, with a total charge."""
    atoms = WATER.copy()
    if charge % 2:
        atoms += ase.Atoms("H", [[0.0, 0.0, 1.2]])
    atoms.info["charge"] = charge
    return atoms


def topology_of(atoms: ase.Atoms, charge: float) -> app.Topology:
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number in atoms.numbers:
        element = app.Element.getByAtomicNumber(int(number))
        topology.addAtom(element.symbol, element, residue, formalCharge=0)
    next(topology.atoms()).formalCharge = int(charge)
    return topology


def by_ase(path: str, charge: float) -> None:
    atoms = with_charge(charge)
    atoms.calc = idle_md.Calculator(path)
    atoms.get_potential_energy()


def by_ase_with_initial_charges(path: str, charge: float) -> None:
    atoms = with_charge(charge)
    del atoms.info["charge"]
    atoms.set_initial_charges([charge - 0.5 * (len(atoms) - 1), *[0.5] * (len(atoms) - 1)])
    atoms.calc = idle_md.Calculator(path)
    atoms.get_potential_energy()


def by_predict(path: str, charge: float) -> None:
    idle_md.predict(path, [WATER, with_charge(charge)])


def by_openmm(path: str, charge: float) -> None:
    create_force(path, with_charge(charge).numbers, charge=charge)


def by_formal_charges(path: str, charge: float) -> None:
    atoms = with_charge(charge)
    create_force(path, topology_of(atoms, charge))


def by_a_force_field(path: str, charge: float) -> None:
    import openmm

    atoms = with_charge(charge)
    system, force = openmm.System(), openmm.NonbondedForce()
    for k in range(len(atoms)):
        system.addParticle(1.0)
        force.addParticle(charge if k == 0 else 0.0, 0.1, 0.0)
    system.addForce(force)
    bare = topology_of(atoms, 0)
    for atom in bare.atoms():
        atom.formalCharge = None
    create_mixed_system(path, bare, system, range(len(atoms)))


def by_openmmml(path: str, charge: float) -> None:
    from openmmml import MLPotential

    bare = topology_of(with_charge(charge), 0)
    MLPotential("idle-md", modelPath=path).createSystem(bare, charge=charge)


def by_lammps(path: str, charge: float) -> None:
    evaluate_lammps(path, with_charge(charge))


def by_torch_sim(path: str, charge: float) -> None:
    from torch_sim.io import atoms_to_state

    from idle_md.engines.torch_sim import TorchSimModel

    model = TorchSimModel(path)
    state = atoms_to_state([with_charge(charge)], model.device, model.dtype)
    if not hasattr(state, "charge"):  # torch-sim 0.3
        state = SimpleNamespace(
            **{name: getattr(state, name) for name in ("positions", "system_idx", "cell", "pbc")},
            atomic_numbers=state.atomic_numbers,
            row_vector_cell=state.row_vector_cell,
            to_atoms=state.to_atoms,
            charge=torch.tensor([charge]),
        )
    model(state)


ENGINES = [
    by_ase,
    by_ase_with_initial_charges,
    by_predict,
    by_openmm,
    by_formal_charges,
    by_a_force_field,
    by_openmmml,
    pytest.param(by_lammps, marks=pytest.mark.skipif(why_not() is not None, reason="no LAMMPS")),
    by_torch_sim,
]


@pytest.mark.parametrize("engine", ENGINES)
def test_charges_that_were_not_trained_on_are_said(engine, path, model_file) -> None:
    if engine is by_torch_sim:
        pytest.importorskip("torch_sim", reason="torch-sim-atomistic is not installed")
    with pytest.warns(StateWarning, match=UNSEEN):
        engine(path, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StateWarning)
        engine(path, 0)
        engine(path, 1)
        engine(str(model_file()), 0)
    with pytest.warns(StateWarning, match=NOT_SAID):  # a file of before
        engine(str(model_file()), 2)


@pytest.mark.parametrize("engine", ["openmm", "lammps"])
def test_dynamics_says_so(engine, path, tmp_path) -> None:
    if engine == "lammps" and why_not() is not None:
        pytest.skip(str(why_not()))
    file = tmp_path / "ion.extxyz"
    ase.io.write(file, with_charge(2))
    run = ["md", path, str(file), "--engine", engine, "--steps", "1", "--interval", "1"]
    with pytest.warns(StateWarning, match=UNSEEN):
        assert CliRunner().invoke(commands, run).exit_code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", StateWarning)
        assert CliRunner().invoke(commands, [*run, "--charge", "0"]).exit_code == 0


def test_a_comparison_of_engines_says_it_once(path, tmp_path) -> None:
    from idle_md.engines.ase import AseEngine
    from idle_md.engines.parity.check import check_engines

    others = [AseEngine("native"), AseEngine("portable")]
    with pytest.warns(StateWarning, match=UNSEEN) as said:
        check_engines(path, {"ion": with_charge(2)}, others=others)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", StateWarning)
        check_engines(path, others=others)  # samples are no molecules


def test_errors_on_labels_of_other_charges_are_said(path, tmp_path) -> None:
    frames = [with_charge(charge) for charge in (0, 2, 2)]
    for k, atoms in enumerate(frames):
        atoms.positions += 0.01 * k
        atoms.rattle(0.01 * k, seed=k)
        atoms.info["high_energy"] = -10.0
    ase.io.write(tmp_path / "labels.extxyz", frames)
    command = ["evaluate", path, str(tmp_path / "labels.extxyz"), "--json"]
    message = r"2 of 3 geometries with labels of 'high' have the charges \+2 \(2\): .* 0 \(812\)"
    with pytest.warns(StateWarning, match=message):
        assert CliRunner().invoke(commands, command).exit_code == 0


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("ranks", [1, 2])
def test_charges_of_atoms_in_lammps(ranks, path, model_file, tmp_path) -> None:
    from idle_md.engines.lammps.process import run_process

    def said(model, charges) -> list[str]:
        atoms = [f"create_atoms {k + 1} single {4 + 0.9 * k} 4 4" for k in range(3)]
        lines = [
            *("units metal", "atom_style charge", "atom_modify map yes", "newton on"),
            *("region box block 0 20 0 9 0 9", "create_box 3 box", *atoms),
            *(f"mass {k} 1.0" for k in (1, 2, 3)),
            *(f"set atom {k} charge {q}" for k, q in enumerate(charges, 1)),
            *("pair_style idle", f"pair_coeff * * {model} H O H", "run 0", "run 0"),
        ]
        run_process(lines, tmp_path, ranks)
        log = (tmp_path / "log.lammps").read_text()
        return [line for line in log.splitlines() if "has a charge of" in line]

    [line] = said(path, (1.0, 0.6, 0.4))
    assert "+2 e: the model is given no charge, and it was trained on geometries of the" in line
    assert "charges 0 (812), +1 (30)" in line
    assert said(path, (0.4, -0.8, 0.4)) == said(path, (1.0, -0.4, 0.4)) == []
    assert len(said(path, (0.4, 0.0, 0.3))) == 1  # no whole charge
    assert "its file does not say" in said(model_file(), (1.0, 0.6, 0.4))[0]


def test_radicals_are_said_where_all_electrons_were_paired(path) -> None:
    about = idle_md.load(path).metadata
    methyl = [6, 1, 1, 1]
    message = (
        r"9 electrons where its charge is 0, one of them unpaired: .* multiplicities 1 \(842\)"
    )
    with pytest.warns(StateWarning, match=message):
        check_use(about, methyl, state=State(0), is_whole=True)
    assert not remark_on_state(about, methyl, State(), is_whole=True)  # may be the cation
    assert not remark_on_state(about, methyl, State(1), is_whole=True)
    assert not remark_on_state(about, methyl, State(0))  # a cell of a metal
    assert not remark_on_state(about, [1], State(0), is_whole=True)
    neutral = about.model_copy(update={"charges": {0: 842}})
    assert "9 electrons" in remark_on_state(neutral, methyl, is_whole=True)
    radicals = about.model_copy(update={"multiplicities": {1: 800, 2: 42}})
    assert not remark_on_state(radicals, methyl, State(0), is_whole=True)


def test_spins_that_are_declared_are_said(path, model_file) -> None:
    oxygen = ase.build.molecule("O2")  # with magnetic moments
    assert state_of(oxygen) == State(None, 3)
    oxygen.calc = idle_md.Calculator(path)
    with pytest.warns(StateWarning, match=r"multiplicity of 3: .* multiplicities 1 \(842\)"):
        oxygen.get_potential_energy()
    oxygen.calc = idle_md.Calculator(model_file())
    with pytest.warns(StateWarning, match=r"multiplicity of 3: .* file does not say which mult"):
        oxygen.get_potential_energy()
    singlet = oxygen.copy()
    singlet.info["multiplicity"] = 1
    assert state_of(singlet).multiplicity == 1
    assert not remark_on_state(idle_md.load(path).metadata, [8, 8], state_of(singlet))


def test_a_calculator_says_it_once_for_a_structure_and_again_for_another(path) -> None:
    calculator, atoms = idle_md.Calculator(path), with_charge(2)
    atoms.calc = calculator
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            atoms.rattle(0.01)
            atoms.get_forces()
        assert len(said) == 1
        atoms.info["charge"] = 3
        atoms.rattle(0.01)
        atoms.get_forces()
    assert len(said) == 2


def test_a_charge_that_is_none_costs_no_other_its_result(path) -> None:
    wrong = with_charge(0)
    wrong.info["charge"] = "+0.5"
    with pytest.raises(
        ValueError, match=r"structure 1 .*charge is '\+0.5'; give the total"
    ) as said:
        idle_md.predict(path, [WATER, wrong, WATER])
    assert len(said.value.results) == 3
    wrong.calc = idle_md.Calculator(path)
    with pytest.raises(ValueError, match=r"charge is '\+0.5'; give the total charge, an integer"):
        wrong.get_potential_energy()


@pytest.mark.parametrize("two", [False, True])
def test_what_was_trained_on_is_counted_by_level(two, make_settings, tmp_path) -> None:
    """Of the labels that are shown, each level has its own; a committee knows what all know."""
    from idle_md.train import parse_config, train, train_ensemble

    settings = make_settings(tmp_path / "run")
    store = load(settings["data"]["store"])
    ions = np.flatnonzero((store.group == "methylamine") & (store.role == "train"))[:20]
    store.charge[ions] = 1
    labels = store.labels_of("wb97x")
    labels.energy[ions] = np.nan
    labels.forces[np.isin(np.repeat(np.arange(store.n_geometries), store.n_atoms), ions)] = np.nan
    store.write(tmp_path / "ions.h5")
    settings["data"]["store"] = str(tmp_path / "ions.h5")
    settings["budget"] = {"steps": 2, "validate_every": 1}
    if two:
        train_ensemble(parse_config({**settings, "ensemble": 2}), 2)
    else:
        train(parse_config(settings))
    found = deploy.export_checkpoint(tmp_path / "run", None, tmp_path / "high.pt")
    assert set(found.charges) == {0}
    low = deploy.export_checkpoint(tmp_path / "run", "gfn2", tmp_path / "low.pt")
    assert set(low.charges) == {0, 1}
    assert set(low.multiplicities) == {1, 2}
    assert sum(low.charges.values()) == low.label_counts["gfn2"]["train"]["energy"]
    shown = CliRunner().invoke(commands, ["info", str(tmp_path / "low.pt")]).output
    assert f"trained on 0 ({low.charges[0]}), +1 ({low.charges[1]})" in shown
