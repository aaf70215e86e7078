"""A model within a force field of OpenMM."""

import numpy as np
import openmm
import pytest
from openmm import app, unit
from typer.testing import CliRunner

from idle_md.cli.main import app as cli
from idle_md.deploy import load
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.openmm.mixed import choose_atoms, make_mixed_system, read_surroundings
from idle_md.structures import read_structure
from idle_md.units import KJ_PER_MOL

FORCE_FIELD = ["amber14/tip3pfb.xml"]
WATER = np.array([[0.0, 0.0, 0.0], [1.01181, 0.0, 0.0], [-0.26286, 0.97706, 0.0]])
"""angstrom; the rigid geometry of TIP3P-FB."""


def write_waters(path, n_waters: int = 4, box: float | None = None):
    """Write waters that touch each other, one of them in a chain of its own."""
    topology, positions = app.Topology(), []
    chain = topology.addChain("A")
    for k in range(n_waters):
        if k == 1:
            chain = topology.addChain("B")
        residue = topology.addResidue("HOH", chain)
        for name in ("O", "H1", "H2"):
            topology.addAtom(name, app.Element.getBySymbol(name[0]), residue)
        positions.append(WATER + np.array([3.0 * (k % 2), 3.0 * (k // 2), 0.3 * k]))
    if box is not None:
        topology.setUnitCellDimensions((0.1 * box, 0.1 * box, 0.1 * box))
    with path.open("w") as file:
        app.PDBFile.writeFile(topology, np.concatenate(positions) * unit.angstrom, file, True)
    return path


@pytest.fixture(scope="module")
def model(model_file):
    return model_file()


def classical_energy(topology, positions, periodic: bool) -> float:
    """Return the energy in eV of waters that are all rigid: none of it is within a water."""
    system = app.ForceField(*FORCE_FIELD).createSystem(
        topology, nonbondedMethod=app.PME if periodic else app.NoCutoff, rigidWater=True
    )
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(0.1 * positions)
    return context.getState(energy=True).getPotentialEnergy()._value * KJ_PER_MOL


@pytest.mark.parametrize("box", [None, 20.5])
def test_energies_add_up_and_the_rest_stays_rigid(model, tmp_path, box) -> None:
    file = write_waters(tmp_path / "waters.pdb", box=box)
    surroundings, atoms = read_surroundings(file, FORCE_FIELD, atoms=[0, 1, 2])
    result = run_md(
        model,
        file,
        MDSettings(
            mm=FORCE_FIELD,
            ml_atoms="0-2",
            ensemble="nve",
            steps=40,
            interval=10,
            timestep_fs=0.1,
            platform="Reference",
            trajectory=tmp_path / "run.pdb",
            checkpoint=tmp_path / "run.xml",
        ),
    )
    cell = None if box is None else np.eye(3) * box
    own, _ = load(model).evaluate([8, 1, 1], atoms.positions[:3], cell, box is not None)
    rest = classical_energy(surroundings.topology, atoms.positions, box is not None)
    assert abs(rest) > 0.01
    assert result.potential_ev[0] == pytest.approx(own + rest, abs=1e-5)
    assert np.ptp(result.total_ev) < 0.1 * result.kinetic_ev.mean()
    end = result.final.positions.reshape(-1, 3, 3)
    lengths = np.linalg.norm(end[:, 1:] - end[:, :1], axis=2)
    np.testing.assert_allclose(lengths[1:], 1.0118, atol=1e-3)
    assert np.abs(lengths[0] - 1.0118).max() > 5e-3
    written = app.PDBFile(str(tmp_path / "run.pdb"))
    assert [r.name for r in written.topology.residues()] == 4 * ["HOH"]
    assert written.getNumFrames() == 5


def test_mass_of_rigid_water_stays(model, tmp_path) -> None:
    file = write_waters(tmp_path / "waters.pdb")
    atoms = read_structure(file)
    settings = {"mm": FORCE_FIELD, "ml_chain": "A", "steps": 1, "timestep_fs": 0.01}
    settings["ensemble"] = "nve"
    light, heavy = (
        run_md(model, file, MDSettings(**settings, hydrogen_mass=mass, platform="Reference"))
        for mass in (None, 3.0)
    )
    assert heavy.potential_ev[0] == pytest.approx(light.potential_ev[0], abs=1e-9)
    moved = [
        np.linalg.norm(r.final.positions - atoms.positions, axis=1)[1:3].mean()
        for r in (light, heavy)
    ]
    assert moved[1] < moved[0]


def test_command_runs_on_openmms_choice(model, tmp_path) -> None:
    file = write_waters(tmp_path / "waters.pdb", box=21.0)
    command = ["md", str(model), str(file), "--mm", FORCE_FIELD[0], "--steps", "4"]
    command += ["--timestep", "0.1", "--interval", "2"]
    result = CliRunner().invoke(cli, [*command, "--ml-chain", "A"])
    assert result.exit_code == 0, result.output
    fastest = max(
        map(openmm.Platform.getPlatform, range(openmm.Platform.getNumPlatforms())),
        key=lambda platform: platform.getSpeed(),
    )
    assert f"OpenMM {fastest.getName()}" in result.output
    for options, message in (
        ([], "no atoms for the model: name residues, chains or indices"),
        (["--ml-residues", "HOH,WAT"], "no residue 'WAT': there are HOH"),
        (["--ml-chain", "C"], "no chain 'C': there are A, B"),
        (["--ml-atoms", "0-2,12"], r"atoms \[12\] are not among the 12 particles"),
        (["--ml-atoms", "0-b"], "ml_atoms: '0-b': indices are like 0-21,30"),
    ):
        bad = CliRunner().invoke(cli, [*command, *options])
        assert bad.exit_code == 1
        with pytest.raises(ValueError, match=message):
            raise bad.exception
    alone = CliRunner().invoke(cli, [*command[:3], "--ml-chain", "A"])
    assert "the rest: give mm" in str(alone.exception)


def test_chosen_atoms_are_all_that_is_named(tmp_path) -> None:
    file = write_waters(tmp_path / "waters.pdb")
    topology = app.PDBFile(str(file)).topology
    assert choose_atoms(topology, [], ["A"], [7, 1]) == [0, 1, 2, 7]
    assert choose_atoms(topology, ["HOH"], [], []) == list(range(12))


def test_narrow_box_and_unknown_residue_are_errors(model, tmp_path) -> None:
    file = write_waters(tmp_path / "waters.pdb", box=15.0)
    settings = MDSettings(mm=FORCE_FIELD, ml_atoms=[0, 1, 2], steps=1)
    with pytest.raises(ValueError, match=r"box is 15 angstrom wide, .* more than 20 angstrom"):
        run_md(model, file, settings)
    with pytest.raises(ValueError, match=r"needs residues, so give the path of a \.pdb or \.cif"):
        run_md(model, read_structure(file), settings)
    file = write_waters(tmp_path / "open.pdb")
    with pytest.raises(ValueError, match=r"force field amber14/lipid17\.xml cannot describe"):
        run_md(model, file, MDSettings(mm="amber14/lipid17.xml", ml_atoms=[0, 1, 2], steps=1))
    with pytest.raises(ValueError, match=r"a force field needs residues, so give a \.pdb"):
        read_surroundings(tmp_path / "waters.xyz", FORCE_FIELD, atoms=[0])


def test_models_part_is_whole_molecules(model, tmp_path) -> None:
    file = write_waters(tmp_path / "waters.pdb")
    match = r"atom 3 \(O of HOH\) is in the model's part and bonded to atom 5 \(H2 of HOH\)"
    with pytest.raises(ValueError, match=match):
        run_md(model, file, MDSettings(mm=FORCE_FIELD, ml_atoms="3,4", steps=1))
    surroundings, _ = read_surroundings(file, FORCE_FIELD, atoms=[3, 4, 5])
    system = make_mixed_system(load(model), surroundings)
    assert system.getNumConstraints() == 9


def test_sites_of_the_models_part_are_not_given_to_the_model(model, tmp_path) -> None:
    """They go with their atoms, whether a residue or indices name them."""
    field = app.ForceField("amber14/tip4pew.xml")
    pdb = app.PDBFile(str(write_waters(tmp_path / "waters.pdb")))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addExtraParticles(field)
    with (tmp_path / "sites.pdb").open("w") as file:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, file)
    potential = []
    for part in ({"ml_atoms": "0-2"}, {"ml_atoms": "0-3"}, {"ml_chain": "A"}):
        settings = MDSettings(mm="amber14/tip4pew.xml", steps=1, **part)
        potential.append(run_md(model, tmp_path / "sites.pdb", settings).potential_ev[0])
    assert potential == [potential[0]] * 3


def test_isotopes_have_their_mass(model, tmp_path) -> None:
    text = write_waters(tmp_path / "waters.pdb").read_text()
    file = tmp_path / "heavy.pdb"
    file.write_text(text.replace("           H", "           D"))
    surroundings, atoms = read_surroundings(file, FORCE_FIELD, atoms=[0, 1, 2])
    system = make_mixed_system(load(model), surroundings)
    masses = [system.getParticleMass(k)._value for k in range(6)]
    np.testing.assert_allclose(masses, 2 * [15.999, 2.014, 2.014], atol=1e-3)
    np.testing.assert_allclose(atoms.get_masses()[:6], masses, atol=1e-3)
