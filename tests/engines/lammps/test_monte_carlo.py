"""Atoms that come and go in LAMMPS, against ideal gases, whose numbers are known."""

import ase
import numpy as np
import pytest
from ase import units

import idle_md
from idle_md import deploy
from idle_md.engines.lammps.process import run_process, why_not
from idle_md.engines.lammps.single_point import evaluate_lammps
from tests.engines.lammps.systems import grid, molecule

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

LENGTH, TEMPERATURE = 400.0, 1000.0  # atoms of a gas that thin do not meet
KT = units.kB * TEMPERATURE


@pytest.fixture(scope="module")
def path(model_file):
    return model_file(name="painn")


@pytest.fixture(scope="module")
def light(make_potential, tmp_path_factory):
    """A model without reference energies: at 1000 K, exp(mu/kT) of others is no number."""
    potential = make_potential()
    potential.reference_energies.zero_()
    path = tmp_path_factory.mktemp("models") / "light.pt"
    deploy.save(deploy.extract(potential, "high"), path, deploy.describe(potential, "high"))
    return path


def gas(path, counts: dict[int, int], relative: str = "no") -> list[str]:
    """Return the commands that set up a gas of H, C, N and O, by type."""
    return [
        *("units metal", "atom_style atomic", "atom_modify map yes"),
        "neighbor 1.0 nsq",
        f"region box block 0 {LENGTH} 0 {LENGTH} 0 {LENGTH}",
        "create_box 4 box",
        *(f"mass {k} {mass}" for k, mass in enumerate((1.008, 12.011, 14.007, 15.999), 1)),
        *(f"create_atoms {kind} random {n} {9 + kind} NULL" for kind, n in counts.items()),
        f"pair_style idle {'relative yes' if relative == 'yes' else ''}",
        f"pair_coeff * * {path} H C N O",
    ]


def chemical_potential(number: int, energy: float) -> float:
    """Return that of an ideal gas of so many atoms of hydrogen, whose energy is given, in eV."""
    mass = 1.008 * units._amu
    wavelength = 1e10 * units._hplanck / np.sqrt(2 * np.pi * mass * units._k * TEMPERATURE)
    return energy + KT * np.log(number / LENGTH**3 * wavelength**3)


def numbers(tmp_path, name: str) -> np.ndarray:
    return np.loadtxt(tmp_path / name, ndmin=2)[:, 1:]


@pytest.mark.parametrize(("ranks", "relative"), [(1, "no"), (2, "no"), (1, "yes")])
def test_grand_canonical_gas(ranks, relative, path, light, tmp_path) -> None:
    """Of 20 atoms in the mean, wherever it began, with the variance of a Poisson distribution."""
    path = path if relative == "yes" else light
    lone = 0.0 if relative == "yes" else idle_md.predict(path, [_hydrogen()])[0].energy
    commands = [
        *gas(path, {1: 10}, relative),
        f"fix mc all gcmc 1 10 0 1 29494 {TEMPERATURE} {chemical_potential(20, lone):.15g} 1.0 "
        "full_energy",
        "variable n equal atoms",
        "fix n all ave/time 1 1 1 v_n file n.txt",
        "thermo_style custom step atoms pe",
        "run 200",
    ]
    run_process(commands, tmp_path, ranks)
    counts = numbers(tmp_path, "n.txt")[20:, 0]
    assert counts.mean() == pytest.approx(20, abs=3)
    assert 8 < counts.var() < 45
    assert counts.min() < counts.max() - 5


@pytest.mark.parametrize("ranks", [1, 2])
def test_energy_without_an_atom_is_that_of_the_others(ranks, path, tmp_path) -> None:
    """Widom's insertions into an ideal gas add the energy of a lone atom, which may be none."""
    for relative in ("no", "yes"):
        lone = 0.0 if relative == "yes" else idle_md.predict(path, [_hydrogen()])[0].energy
        folder = tmp_path / relative
        folder.mkdir()
        commands = [
            *gas(path, {1: 5}, relative),
            "fix w all widom 1 20 1 29494 1e5 full_energy",
            "fix mu all ave/time 1 1 1 f_w[1] file mu.txt",
            "run 3",
        ]
        run_process(commands, folder, ranks)
        assert numbers(folder, "mu.txt")[-1, 0] == pytest.approx(lone, abs=1e-6 * abs(lone) + 1e-9)


@pytest.mark.parametrize("ranks", [1, 2])
def test_swaps_of_a_gas_change_no_energy(ranks, path, tmp_path) -> None:
    commands = [
        *gas(path, {1: 10, 2: 10}),
        f"fix s all atom/swap 1 10 29494 {TEMPERATURE} ke no types 1 2",
        "fix a all ave/time 1 1 1 f_s[1] f_s[2] c_thermo_pe file a.txt",
        "run 3",
    ]
    run_process(commands, tmp_path, ranks)
    tried, accepted, energy = numbers(tmp_path, "a.txt").T
    assert (tried == accepted).all()
    assert tried[-1] >= 30
    np.testing.assert_allclose(energy, energy[0], rtol=0, atol=1e-8)


def test_relative_energies_are_those_of_the_other_engines(path, committee_file) -> None:
    for model in (path, committee_file()):
        for kernels in ("native", "portable"):
            atoms = grid((3, 2, 2), 2.4)
            total, relative = (
                evaluate_lammps(model, atoms, kernels=kernels, relative=each)
                for each in (False, True)
            )
            [wanted] = idle_md.predict(model, [atoms], relative=True)
            assert relative.energy == pytest.approx(wanted.energy, abs=1e-7)
            np.testing.assert_allclose(relative.energies, wanted.energies, atol=1e-7)
            np.testing.assert_allclose(relative.forces, total.forces, atol=1e-9)
            assert abs(total.energy - relative.energy) > 100
    far = molecule()
    far.positions *= 20
    assert evaluate_lammps(path, far, relative=True).energy == pytest.approx(0, abs=1e-9)


def _hydrogen() -> ase.Atoms:
    return ase.Atoms("H")
