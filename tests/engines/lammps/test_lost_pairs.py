"""All neighbours reach the model, whichever commands would take some; or nothing runs."""

import ase
import numpy as np
import pytest

from idle_md import deploy
from idle_md.engines.lammps.input import place, set_up, write_data
from idle_md.engines.lammps.process import LammpsError, run_here, run_process, why_not
from tests.engines.lammps.systems import expected, grid

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

LJ = "lj/cut 3.0"
MODEL = "pair_coeff * * idle {model} {elements}"
TAKEN = "pairs of types {} and {} are taken from the model"


@pytest.fixture(scope="module")
def path(model_file):
    return model_file(name="painn")


@pytest.fixture(scope="module")
def atoms() -> ase.Atoms:
    """Types 1 (H), 2 (C), 3 (N) and 4 (O), denser than Lennard-Jones' cutoff."""
    atoms = grid((4, 3, 3), 2.2)
    assert set(atoms.numbers) == {1, 6, 7, 8}
    return atoms


@pytest.fixture
def energy(path, atoms, tmp_path):
    """Return the energy that LAMMPS gives after other commands than those for a model alone."""

    def run(lines: list[str], ranks: int, before: tuple[str, ...] = (), model=path) -> float:
        structure = place(atoms)
        write_data(structure, tmp_path / "start.data")
        commands = set_up(structure, tmp_path / "start.data", model)
        first = next(k for k, line in enumerate(commands) if line.startswith("pair_style"))
        names = {"model": model, "elements": " ".join(structure.elements)}
        script = [*before, *commands[:first], *(line.format(**names) for line in lines)]
        script += [f'print "$(pe:%.15g)" file "{tmp_path / "energy"}" screen no']
        script.insert(-1, "run 0")
        if ranks == 1:
            run_here(script, tmp_path / "log")
        else:
            run_process(script, tmp_path, ranks)
        return float((tmp_path / "energy").read_text())

    return run


ALONE = ["pair_style idle", "pair_coeff * * {model} {elements}"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([f"pair_style hybrid idle {LJ}", MODEL, "pair_coeff 1 1 lj/cut 0 1"], TAKEN.format(1, 1)),
        (
            [f"pair_style hybrid idle {LJ}", MODEL, "pair_coeff 2 3 lj/cut 0 1"],
            TAKEN.format(2, 3),
        ),
        (  # a whole element, which NULL would leave to the other
            [f"pair_style hybrid idle {LJ}", MODEL, "pair_coeff * 4 lj/cut 0 1"],
            TAKEN.format(1, 4),
        ),
        (
            [
                *(f"pair_style hybrid/overlay idle {LJ}", MODEL),
                *("pair_coeff 3 3 lj/cut 0 1", "pair_coeff 1 2 none"),
            ],
            TAKEN.format(1, 2),
        ),
        (
            [
                *("group some id 1:9", "atom_modify first some", *ALONE),
                "comm_modify group some",
            ],
            "comm_modify group some leaves atoms of the model without ghosts",
        ),
    ],
)
def test_pairs_that_others_take_are_refused(lines, said, energy) -> None:
    with pytest.raises(LammpsError, match=said):
        energy(lines, 1, before=("atom_modify map yes",))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([f"pair_style hybrid idle {LJ}", MODEL, "pair_coeff 1 2 lj/cut 0 1"], TAKEN.format(1, 2)),
        (
            ["group some id 1:9", "atom_modify first some", *ALONE, "comm_modify group some"],
            "group some",
        ),
    ],
)
def test_they_are_refused_on_two_ranks(lines, said, energy) -> None:
    with pytest.raises(LammpsError, match=said):
        energy(lines, 2, before=("atom_modify map yes",))


@pytest.mark.parametrize(
    "lines",
    [
        ALONE,
        [f"pair_style hybrid/overlay idle {LJ}", MODEL, "pair_coeff 1 1 lj/cut 0 1"],
        [f"pair_style hybrid/overlay {LJ} idle", MODEL, "pair_coeff * 2 lj/cut 0 1"],
        ["group every id 1:36", "atom_modify first every", *ALONE, "comm_modify group every"],
        [*ALONE, "comm_modify cutoff 1.0"],
        [*ALONE, "neigh_modify exclude type 1 1", "neigh_modify exclude none"],
    ],
)
def test_what_takes_nothing_changes_nothing(lines, energy, path, atoms) -> None:
    wanted = expected(deploy.load(path), atoms)[0].sum()
    for ranks in (1, 2) if "comm_modify" in lines[-1] else (1,):
        found = energy(lines, ranks, before=("atom_modify map yes",))
        assert found == pytest.approx(wanted, abs=1e-7)


def test_types_left_to_another_style_are_not_missed(energy, path, atoms) -> None:
    others = atoms[atoms.numbers != 8]
    wanted = expected(deploy.load(path), others)[0].sum()
    lines = [f"pair_style hybrid idle {LJ}", "pair_coeff * * idle {model} H C N NULL"]
    found = energy([*lines, "pair_coeff * 4 lj/cut 0 1"], ranks=2)
    assert found == pytest.approx(wanted, abs=1e-7)
    assert np.sum(atoms.numbers == 8) > 0


def test_settings_between_runs_are_seen(energy) -> None:
    with pytest.raises(LammpsError, match="exclude type 2 2 takes pairs"):
        energy([*ALONE, "run 0", "neigh_modify exclude type 2 2"], ranks=1)
    both = [f"pair_style hybrid/overlay idle {LJ}", MODEL, "pair_coeff 1 1 lj/cut 0 1", "run 0"]
    with pytest.raises(LammpsError, match=TAKEN.format(2, 3)):
        energy([*both, "pair_coeff 2 3 none"], ranks=1)
