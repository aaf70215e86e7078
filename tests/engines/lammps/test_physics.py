"""Forces against finite differences in LAMMPS, and what LAMMPS does with them."""

import re

import numpy as np
import pytest

from idle_md import deploy
from idle_md.engines.lammps.input import place, set_up, write_data
from idle_md.engines.lammps.process import run_here, run_process, why_not
from idle_md.units import KCAL_PER_MOL
from tests.engines.lammps.systems import expected, grid, skewed, slab, water

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

REPULSION = ["zbl 1.0 1.5", "pair_coeff {t} {t} zbl {z} {z}"]


@pytest.fixture(scope="module")
def path(model_file):
    return model_file(name="painn")


@pytest.fixture
def started(path, tmp_path):
    """Commands that set a structure up."""

    def start(atoms, mode=None, model=path):
        structure = place(atoms)
        write_data(structure, tmp_path / "start.data")
        return set_up(structure, tmp_path / "start.data", model, mode)

    return start


def printed(log) -> list[dict[str, float]]:
    """Return the tables of thermodynamic output, row by row."""
    rows, names = [], None
    for line in log.read_text().splitlines():
        words = line.split()
        if words and words[0] == "Step":
            names = words
        elif names and len(words) == len(names) and re.match(r"^\s*\d+(\s+[-+.\deE]+)*\s*$", line):
            rows.append(dict(zip(names, map(float, words), strict=True)))
        elif line.startswith("Loop time"):
            names = None
    return rows


def dumped(path) -> np.ndarray:
    """Return the last frame of a dump, sorted by the first column."""
    frame = path.read_text().split("ITEM: ATOMS")[-1].splitlines()[1:]
    table = np.array([[float(word) for word in line.split()] for line in frame])
    return table[np.argsort(table[:, 0])]


@pytest.mark.parametrize("system", [slab, skewed])
@pytest.mark.parametrize("mode", ["fold", "ghost"])
def test_forces_equal_numerical_derivatives(system, mode, started, tmp_path) -> None:
    commands = ["atom_modify map array", *started(system()[:12], mode)]
    commands += [
        "fix d all numdiff 1 1e-4",
        f"dump d all custom 1 {tmp_path / 'd'} id fx fy fz f_d[*]",
    ]
    run_here([*commands, "dump_modify d format float %.12g", "run 0"], tmp_path / "log")
    table = dumped(tmp_path / "d")
    scale = np.abs(table[:, 1:4]).max()
    assert np.abs(table[:, 1:4] - table[:, 4:7]).max() < 1e-6 * scale


@pytest.mark.parametrize("mode", ["fold", "ghost"])
def test_virial_equals_a_numerical_derivative(mode, started, tmp_path) -> None:
    commands = started(skewed(), mode)
    commands += ["fix d all numdiff/virial 1 1e-5", "compute p all pressure NULL virial"]
    columns = [f"{name}[{k}]" for k in range(1, 7) for name in ("c_p", "f_d")]
    commands += [
        f"thermo_style custom step {' '.join(columns)}",
        "thermo_modify format float %.12g",
    ]
    run_here([*commands, "run 0"], tmp_path / "log")
    row = printed(tmp_path / "log")[-1]
    # Voigt's order there, LAMMPS' own here
    found = np.array([row[f"c_p[{k}]"] for k in (1, 2, 3, 6, 5, 4)])
    numerical = np.array([row[f"f_d[{k}]"] for k in range(1, 7)])
    assert np.abs(found - numerical).max() < 1e-5 * np.abs(found).max()


def test_virial_of_atoms_adds_up(started, tmp_path) -> None:
    commands = started(water((2, 2, 2)), "ghost")
    commands += ["compute s all stress/atom NULL virial", "compute p all pressure NULL virial"]
    commands += [f"compute a{k} all reduce sum c_s[{k}]" for k in range(1, 7)]
    columns = [f"{name}{k}{end}" for k in range(1, 7) for name, end in (("c_p[", "]"), ("c_a", ""))]
    commands += [
        f"thermo_style custom step vol {' '.join(columns)}",
        "thermo_modify format float %.14g",
    ]
    run_here([*commands, "run 0"], tmp_path / "log")
    row = printed(tmp_path / "log")[-1]
    for k in range(1, 7):
        assert row[f"c_a{k}"] == pytest.approx(
            -row[f"c_p[{k}]"] * row["Volume"], rel=1e-9, abs=1e-3
        )


def test_units_real(started, path, tmp_path) -> None:
    atoms = skewed()
    commands = ["units real" if line.startswith("units") else line for line in started(atoms)]
    commands += [
        "compute p all pressure NULL virial",
        f"dump d all custom 1 {tmp_path / 'd'} id fx fy fz",
    ]
    commands += ["dump_modify d format float %.15g", "thermo_style custom step pe vol c_p[1]"]
    run_here([*commands, "thermo_modify format float %.15g", "run 0"], tmp_path / "log")
    energies, forces, virial = expected(deploy.load(path), atoms)
    row = printed(tmp_path / "log")[-1]
    structure = place(atoms)
    # LAMMPS' kcal/mol differs from CODATA's in the eighth digit
    assert row["PotEng"] * KCAL_PER_MOL == pytest.approx(energies.sum(), rel=1e-7)
    turned = dumped(tmp_path / "d")[:, 1:] @ structure.rotation * KCAL_PER_MOL
    assert np.abs(turned - forces).max() < 1e-6 * np.abs(forces).max()
    pressure = (structure.rotation @ virial @ structure.rotation.T)[0, 0] / atoms.get_volume()
    assert row["c_p[1]"] / 68568.415 * KCAL_PER_MOL == pytest.approx(pressure, rel=1e-6)


def test_hybrid_describes_a_part(path, tmp_path) -> None:
    """Atoms of a type that is NULL feel nothing, and the others do not feel them."""
    atoms = water((2, 2, 2))
    guests = grid((2, 2, 2), 3.1, seed=8)
    guests.numbers[:] = 18
    structure = place(atoms + guests)
    write_data(structure, tmp_path / "start.data")
    for mode in ("fold", "ghost"):
        commands = set_up(structure, tmp_path / "start.data", path, mode)[:-2]
        commands += [f"pair_style hybrid/overlay idle {mode} lj/cut 4.0"]
        commands += [f"pair_coeff * * idle {path} H O NULL", "pair_coeff * 3 lj/cut 0.0 3.0"]
        commands += [f"dump d all custom 1 {tmp_path / 'd'} id fx fy fz"]
        commands += ["dump_modify d format float %.15g", "thermo_modify format float %.15g"]
        run_here([*commands, "run 0"], tmp_path / "log")
        energies, forces, _ = expected(deploy.load(path), atoms)
        assert printed(tmp_path / "log")[-1]["E_pair"] == pytest.approx(energies.sum(), rel=1e-12)
        found = dumped(tmp_path / "d")[:, 1:]
        assert np.abs(found[: len(atoms)] - forces).max() < 1e-9 * np.abs(forces).max()
        assert not found[len(atoms) :].any()


def test_hybrid_adds_up_and_exclusions_elsewhere_are_allowed(path, tmp_path) -> None:
    atoms = water((2, 2, 2))
    structure = place(atoms)
    write_data(structure, tmp_path / "start.data")
    energies = []
    for styles in (["idle"], ["lj/cut 4.0"], ["idle", "lj/cut 4.0"]):
        commands = set_up(structure, tmp_path / "start.data", path)[:-2]
        commands.append(f"pair_style hybrid/overlay {' '.join(styles)}")
        if "idle" in styles:
            commands.append(f"pair_coeff * * idle {path} H O")
        if len(styles) > 1 or "idle" not in styles:
            commands.append("pair_coeff * * lj/cut 0.01 1.5")
        run_here([*commands, "thermo_modify format float %.15g", "run 0"], tmp_path / "log")
        energies.append(printed(tmp_path / "log")[-1]["E_pair"])
    assert energies[0] + energies[1] == pytest.approx(energies[2], rel=1e-12)


def liquid(started, sides, mode=None):
    """Commands of dynamics: a repulsion keeps the atoms of a random model apart."""
    atoms = grid(sides, 2.2, seed=9)
    commands = started(atoms, mode)
    style, coefficients = commands[-2:]
    commands[-2] = style.replace("pair_style", "pair_style hybrid/overlay") + " lj/cut 3.0"
    commands[-1] = coefficients.replace("* *", "* * idle")
    commands += ["pair_coeff * * lj/cut 0.02 2.0", "pair_modify shift yes", "neighbor 1.0 bin"]
    commands += ["velocity all create 300 11 loop geom", "timestep 0.00025", "thermo 20"]
    return [
        *commands,
        "thermo_style custom step etotal temp press",
        "thermo_modify format float %.12g",
    ]


@pytest.mark.parametrize(("mode", "ranks"), [("fold", 1), ("ghost", 2)])
def test_energy_is_conserved_while_atoms_move_between_ranks(mode, ranks, started, tmp_path) -> None:
    commands = liquid(started, (6, 4, 4), mode)
    commands += [
        "velocity all create 1500 11 loop geom",
        "fix 1 all nve",
        "compute rank all property/atom proc",
    ]
    commands += [f"dump d all custom 400 {tmp_path / 'd'} id c_rank", "run 400"]
    run_process(commands, tmp_path, ranks)
    energies = np.array([row["TotEng"] for row in printed(tmp_path / "log.lammps")])
    assert len(energies) == 21
    kinetic = 1.5 * 96 * 8.617e-5 * 1500
    assert np.ptp(energies) < 2e-3 * kinetic
    if ranks > 1:
        first = (tmp_path / "d").read_text().split("ITEM: TIMESTEP")[1].splitlines()[9:]
        before = np.array(sorted([int(w) for w in line.split()] for line in first))
        assert (before[:, 1] != dumped(tmp_path / "d")[:, 1]).any()


def test_load_balancing_changes_nothing(started, tmp_path) -> None:
    results = []
    for balance in ([], ["comm_style tiled", "balance 1.0 rcb", "fix b all balance 10 1.0 rcb"]):
        commands = [*liquid(started, (8, 4, 4), "ghost"), *balance, "fix 1 all nve", "run 40"]
        if balance:  # ghosts may reach as far as the box there, not farther
            commands = [line.replace("neighbor 1.0", "neighbor 0.5") for line in commands]
        run_process(commands, tmp_path, 2)
        results.append([row["TotEng"] for row in printed(tmp_path / "log.lammps")])
    assert np.allclose(*results, rtol=0, atol=1e-8)


def test_a_restart_goes_on(started, tmp_path) -> None:
    commands = [*liquid(started, (4, 4, 4)), "fix 1 all nve"]
    dump = [f"dump d all custom 1 {tmp_path / 'd'} id x y z", "dump_modify d format float %.15g"]
    whole = [*commands, "run 20", f"write_restart {tmp_path / 'r'}", "run 20", *dump, "run 0"]
    run_here(whole, tmp_path / "log")
    expected_positions = dumped(tmp_path / "d")
    kept = [
        line
        for line in commands
        if line.split()[0] not in ("units", "atom_style", "boundary", "velocity")
    ]
    again = [
        f"read_restart {tmp_path / 'r'}" if line.startswith("read_data") else line for line in kept
    ]
    run_here([*again, "run 20", *dump, "run 0"], tmp_path / "log")
    assert np.abs(dumped(tmp_path / "d") - expected_positions).max() < 1e-9


def test_minimize_goes_downhill(started, tmp_path) -> None:
    commands = liquid(started, (4, 4, 4))
    commands += ["thermo_style custom step pe fmax", "thermo 1000", "minimize 0 0.05 200 2000"]
    run_here(commands, tmp_path / "log")
    rows = printed(tmp_path / "log")
    assert rows[-1]["PotEng"] < rows[0]["PotEng"]
    assert rows[-1]["Fmax"] < 0.2 * rows[0]["Fmax"]


@pytest.mark.parametrize(("coupling", "tolerance"), [("iso", 5e-2), ("aniso", 5e-3), ("tri", 5e-3)])
def test_npt_conserves_its_own_energy(coupling, tolerance, started, tmp_path) -> None:
    """The conserved quantity tests the pressure; that of ``iso`` drifts with any potential."""
    commands = liquid(started, (4, 4, 4))
    if coupling == "tri":
        commands.append("change_box all triclinic")
    commands += [f"fix 1 all npt temp 300 300 0.1 {coupling} 0 0 0.5"]
    commands += ["thermo_style custom step econserve vol", "thermo_modify format float %.12g"]
    run_here([*commands, "run 200"], tmp_path / "log")
    rows = printed(tmp_path / "log")
    assert abs(rows[-1]["Volume"] / rows[0]["Volume"] - 1) > 1e-3
    conserved = np.array([row["Econserve"] for row in rows])
    assert np.ptp(conserved) < tolerance * 1.5 * 64 * 8.617e-5 * 300


def test_rerun_gives_the_energies_of_the_run(started, tmp_path) -> None:
    commands = [*liquid(started, (4, 4, 4)), "thermo_style custom step pe"]
    commands += ["thermo_modify format float %.12g"]
    commands += [
        f"dump d all custom 20 {tmp_path / 'd'} id type x y z",
        "dump_modify d format float %.15g",
    ]
    run_here([*commands, "fix 1 all nve", "run 40"], tmp_path / "log")
    energies = [row["PotEng"] for row in printed(tmp_path / "log")]
    run_here([*commands[:-2], f"rerun {tmp_path / 'd'} dump x y z"], tmp_path / "log")
    again = [row["PotEng"] for row in printed(tmp_path / "log")]
    assert len(again) == 3
    assert np.allclose(again, energies, rtol=0, atol=1e-7)


def test_the_file_says_what_is_run(started, path, tmp_path) -> None:
    commands = [*started(water((2, 2, 2))), "compute p all pair idle"]
    commands.append("thermo_style custom step pe c_p c_p[1]")
    run_here([*commands, "run 0"], tmp_path / "log")
    text = (tmp_path / "log").read_text()
    row = printed(tmp_path / "log")[-1]
    assert row["c_p"] == pytest.approx(row["PotEng"])
    assert 0 < row["c_p[1]"] < 10  # seconds in the model
    assert "fidelity high (level of theory not recorded), elements H C N O" in text
    assert "idle: runs on native operators, float64" in text
    assert "idle: mode fold on 1 MPI rank" in text


@pytest.mark.slow
def test_ten_picoseconds(model_file, started, tmp_path) -> None:
    """1,000 atoms on two ranks: PaiNN with 16 features and 2 interactions, under a repulsion."""
    path = model_file(name="painn")
    commands = liquid(lambda atoms, mode: started(atoms, mode, path), (10, 10, 10), "ghost")
    commands += [
        "timestep 0.0005",
        "fix 1 all nve",
        "run 200",
        "reset_timestep 0",
        "thermo 100",
        "run 20000",
    ]
    run_process(commands, tmp_path, 2)
    rows = printed(tmp_path / "log.lammps")[-200:]
    times = np.array([row["Step"] for row in rows]) * 0.0005
    energies = np.array([row["TotEng"] for row in rows])
    drift = np.polyfit(times, energies, 1)[0] / 1000
    assert abs(drift) < 0.05e-3  # eV/atom/ps
