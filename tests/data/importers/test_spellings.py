"""The same fifty geometries in the spellings of the field: the same numbers, or a remedy."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.db
import ase.io
import h5py
import numpy as np
import pytest

from idle_md.data import Labels, Store, import_data, load
from idle_md.data.importers.contents import formulae
from idle_md.units import HARTREE, KCAL_PER_MOL
from tests.data.importers.test_importers import (
    BOHR,
    WAYS,
    assert_same,
    images,
    shaped,
    write_npz,
)

ONE = {"fidelity": "pbe"}
COLUMNS = "species:S:1:pos:R:3:forces:R:3"


@pytest.fixture(scope="module")
def fifty() -> Store:
    """Real energies and forces of two molecules, not in the order of their names."""
    store = load("chno-mini", ["wb97x"])
    has = store.has_forces("wb97x")
    rows = [np.flatnonzero(has & (store.group == g))[:25] for g in ("methanol", "formamide")]
    store = store.select(np.concatenate(rows))
    formula = np.where(store.group == "methanol", "CH4O", "CH3NO")
    return replace(store, labels={"pbe": store.labels["wb97x"]}, group=formula, info={})


def text(
    store: Store,
    comment: str = "energy={e}",
    columns: str = COLUMNS,
    form: Callable[[float], str] = repr,
    energy: float = 1.0,
    length: float = 1.0,
    sign: float = 1.0,
    joint: str = " ",
) -> str:
    """Frames; units are those of energies and lengths in eV and angstrom."""
    frames = []
    for g, atoms in enumerate(images(store)):
        values = {
            "species": [[symbol] for symbol in atoms.symbols],
            "pos": [[form(x / length) for x in row] for row in atoms.positions.tolist()],
            "forces": [
                [form(sign * x * length / energy) for x in row]
                for row in atoms.get_forces().tolist()
            ],
            "more": [["T", "-7"]] * len(atoms),
        }
        values["REF_forces"] = values["forces"]
        names = [name for name in columns.split(":") if name in values]
        e = form(float(store.labels["pbe"].energy[g]) / energy)
        head = comment.format(e=e, g=g)
        if "Properties" not in head and columns != "species:S:1:pos:R:3":
            head = f"Properties={columns.replace('more', 'fixed')} {head}"
        rows = [
            joint.join(x for name in names for x in values[name][atom])
            for atom in range(len(atoms))
        ]
        frames.append("\n".join([f"{len(atoms)}", head, *rows]))
    return "\n".join(frames) + "\n"


def xyz(name: str = "set.xyz", encoded: Callable[[str], bytes] = str.encode, **how):
    """A writer of one XYZ file."""

    def write(store: Store, folder: Path) -> Path:
        (folder / name).write_bytes(encoded(text(store, **how)))
        return folder / name

    return write


def fortran(number: float) -> str:
    return f"{number:.14e}".replace("e", "D")


def ase_file(name: str, **options):
    def write(store: Store, folder: Path) -> Path:
        ase.io.write(folder / name, images(store), **options)
        return folder / name

    return write


def cp2k(store: Store, folder: Path) -> Path:
    title = " i = {g:8d}, time = {g}.500, E = {e}"
    plain = "species:S:1:pos:R:3"
    pulled = replace(store, positions=store.labels["pbe"].forces / (HARTREE / BOHR))
    for kind, each in (("pos", store), ("frc", pulled)):
        (folder / f"w-{kind}-1.xyz").write_text(text(each, title, plain, energy=HARTREE))
    return folder / "w-pos-1.xyz"


def orca_output(store: Store, folder: Path) -> Path:
    """Outputs one after the other, as far as ASE reads them."""
    lines = []
    for g, atoms in enumerate(images(store)):
        rows = [
            f"  {s} {x!r} {y!r} {z!r}"
            for s, (x, y, z) in zip(atoms.symbols, atoms.positions.tolist(), strict=True)
        ]
        gradient = (-atoms.get_forces() / (ase.units.Hartree / BOHR)).tolist()
        lines += ["* O   R   C   A *", f"Number of atoms             ...  {len(atoms)}"]
        lines += ["CARTESIAN COORDINATES (ANGSTROEM)", "-----", *rows, ""]
        lines += ["ORCA SCF GRADIENT CALCULATION", "CARTESIAN GRADIENT", "---", ""]
        lines += [
            f"{k} {atoms.symbols[k]} : {x!r} {y!r} {z!r}" for k, (x, y, z) in enumerate(gradient)
        ]
        energy = float(store.labels["pbe"].energy[g]) / ase.units.Hartree
        lines += [f"FINAL SINGLE POINT ENERGY {energy!r}", "THE OPTIMIZATION HAS CONVERGED"]
        lines += ["ORCA TERMINATED NORMALLY"]
    (folder / "all.out").write_text("\n".join(lines) + "\n")
    return folder / "all.out"


def systems(store: Store) -> dict[str, tuple[np.ndarray, ...]]:
    return {g: shaped(store.select(store.group == g)) for g in ("CH4O", "CH3NO")}


def deepmd(store: Store, folder: Path, ending: str = "npy") -> Path:
    for name, (numbers, positions, energies, forces) in systems(store).items():
        system = folder / "deepmd" / name
        parts = [system / "set.000", system / "set.001"] if ending == "npy" else [system]
        kinds, types = np.unique(numbers, return_inverse=True)
        arrays = {
            "coord": positions.reshape(len(energies), -1),
            "energy": energies,
            "force": forces.reshape(len(energies), -1),
        }
        for part, rows in zip(
            parts, np.array_split(np.arange(len(energies)), len(parts)), strict=True
        ):
            part.mkdir(parents=True)
            for key, array in arrays.items():
                if ending == "npy":
                    np.save(part / f"{key}.npy", array[rows])
                else:
                    np.savetxt(part / f"{key}.raw", array[rows], fmt="%.17g")
        np.savetxt(system / "type.raw", types, fmt="%d")
        (system / "type_map.raw").write_text("\n".join(ase.Atoms(kinds).symbols) + "\n")
        (system / "nopbc").touch()
    return folder / "deepmd"


def schnetpack(store: Store, folder: Path) -> Path:
    with ase.db.connect(folder / "spk.db") as database:
        for atoms in images(store):
            results = atoms.calc.results
            energy = np.array([results["energy"] / KCAL_PER_MOL])
            data = {"energy": energy, "forces": results["forces"] / KCAL_PER_MOL}
            database.write(ase.Atoms(atoms.numbers, atoms.positions), data=data)
    units = {"energy": "kcal/mol", "forces": "kcal/mol/Ang"}
    database.metadata = {"_property_unit_dict": units, "_distance_unit": "Ang"}
    return folder / "spk.db"


def qm7x(store: Store, folder: Path) -> Path:
    with h5py.File(folder / "1000.hdf5", "w") as file:
        for name, arrays in systems(store).items():
            for k, (x, e, f) in enumerate(zip(*arrays[1:], strict=True)):
                group = file.create_group(f"{name}/Geom-m1-i1-c1-d{k:03d}")
                group["atNUM"], group["atXYZ"] = arrays[0], x
                group["ePBE0+MBD"], group["totFOR"] = [e], f
    return folder / "1000.hdf5"


def transition1x(store: Store, folder: Path) -> Path:
    with h5py.File(folder / "t1x.h5", "w") as file:
        for name, arrays in systems(store).items():
            keys = "atomic_numbers", "positions", "pbe.energy", "pbe.forces"
            for key, array in zip(keys, arrays, strict=True):
                file[f"data/{name}/{key}"] = array
            file[f"train/{name}"] = file[f"data/{name}"]
    return folder / "t1x.h5"


def one_molecule(kind: str):
    return lambda store, folder: write_npz(store.select(store.group == "CH4O"), folder, kind)


def mapped(energy: str, forces: str | None = None, **more) -> dict:
    keys = {"energy": {energy: "pbe"}, "forces": {} if forces is None else {forces: "pbe"}}
    return keys | more


REFERENCE = "species:S:1:pos:R:3:REF_forces:R:3"
PLAIN = "species:S:1:pos:R:3"
STATED = "energy={e} energy-unit=hartree force-unit=hartree/bohr length-unit=bohr"
SAME = {
    "ase": (ase_file("set.extxyz"), ONE),
    "ase trajectory": (ase_file("set.traj"), ONE),
    "mace": (xyz(comment="REF_energy={e}", columns=REFERENCE), mapped("REF_energy", "REF_forces")),
    "mace heads": (xyz(comment="energy={e} head=pbe"), {"level_key": "head"}),
    "config_type": (xyz(comment="energy={e} config_type=PBE"), {"level_key": "config_type"}),
    "nequip": (xyz(comment="total_energy={e}"), mapped("total_energy", "forces")),
    "suffix": (xyz(comment="energy_pbe={e}"), mapped("energy_pbe", "forces")),
    "schnetpack": (schnetpack, ONE),
    "deepmd npy": (deepmd, ONE),
    "deepmd raw": (lambda store, folder: deepmd(store, folder, "raw"), ONE),
    "qm7-x": (qm7x, mapped("ePBE0+MBD", "totFOR")),
    "transition1x": (transition1x, {}),
    "md17": (one_molecule("sgdml"), ONE),
    "rmd17": (one_molecule("rmd17"), ONE),
    "cp2k": (
        cp2k,
        lambda path: mapped("comment", f"{path.parent}/w-frc-1.xyz", force_unit="hartree/bohr"),
    ),
    "orca comment": (
        xyz(comment="Coordinates from ORCA-job mol-2 E {e}", columns=PLAIN, energy=HARTREE),
        mapped("comment"),
    ),
    "xtb comment": (
        xyz(
            comment=" energy: {e} gnorm: 0.0{g} xtb: 6.5.1 (579679a)", columns=PLAIN, energy=HARTREE
        ),
        mapped("comment"),
    ),
    "comment with a unit": (
        xyz(comment="# E = {e} kcal/mol", columns=PLAIN, energy=KCAL_PER_MOL),
        mapped("comment"),
    ),
    "crest comment": (xyz(comment="    {e}", columns=PLAIN, energy=HARTREE), mapped("comment")),
    "orca output": (orca_output, ONE | {"format": "ase-io"}),
    "gzip": (xyz("set.xyz.gz", lambda t: gzip.compress(t.encode())), ONE),
    "bzip2": (xyz("set.extxyz.bz2", lambda t: bz2.compress(t.encode())), ONE),
    "xz": (xyz("set.xyz.xz", lambda t: lzma.compress(t.encode())), ONE),
    "gzip without ending": (xyz("set.xyz", lambda t: gzip.compress(t.encode())), ONE),
    "crlf": (xyz(encoded=lambda t: t.replace("\n", "\r\n").encode()), ONE),
    "cr": (xyz(encoded=lambda t: t.replace("\n", "\r").encode()), ONE),
    "bom": (xyz(encoded=lambda t: t.encode("utf-8-sig")), ONE),
    "utf-16 of powershell": (
        xyz(encoded=lambda t: t.replace("\n", "\r\n").encode("utf-16")),
        ONE,
    ),
    "windows-1252": (
        xyz(
            encoded=lambda t: t.encode("cp1252"), comment="by=M\xfcller\u2026 energy={e} at=5\u20ac"
        ),
        ONE,
    ),
    "tabs": (xyz(joint="\t", comment="energy={e}\tstep={g}\t"), ONE),
    "blanks": (xyz(encoded=lambda t: ("\n" + t.replace("\n", "  \n") + "\n\n").encode()), ONE),
    "fortran": (xyz(form=fortran), ONE),
    "stated units": (xyz(comment=STATED, energy=HARTREE, length=BOHR), ONE),
    "kcal": (xyz(energy=KCAL_PER_MOL), ONE),
    "given units": (xyz(energy=HARTREE, length=BOHR), ONE | {"length_unit": "bohr"}),
    "gradients": (xyz(sign=-1.0), ONE | {"gradients": True}),
    "other order": (xyz(columns="forces:R:3:species:S:1:pos:R:3"), ONE),
    "more columns": (xyz(columns="species:S:1:more:L:1:tag:I:1:pos:R:3:forces:R:3"), ONE),
    "quoted": (xyz(comment="energy = \"{e}\" pbc='F F F' note={{a b}} t=[1, 2]"), ONE),
    "charge": (xyz(comment="total_charge=0.0 energy={e} spin_multiplicity=1"), ONE),
    "free energy": (xyz(comment="free_energy=1.0 energy={e}"), ONE),
    "capitals": (
        xyz(comment="Energy={e}", columns="species:S:1:pos:R:3:forces:R:3"),
        mapped("Energy", "forces"),
    ),
    **{f"{way} of the field": how for way, how in WAYS.items() if way not in ("ani", "spice")},
}


@pytest.mark.parametrize("spelling", SAME)
def test_a_spelling_gives_the_same_numbers(spelling, fifty, tmp_path) -> None:
    write, options = SAME[spelling]
    path = write(fifty, tmp_path)
    store = import_data(path, **(options(path) if callable(options) else options))
    if "17" in spelling:
        fifty = fifty.select(fifty.group == "CH4O")
    if "comment" in spelling:  # no forces
        assert not store.has_forces("pbe").any()
        empty = np.full_like(fifty.labels["pbe"].forces, np.nan)
        fifty = replace(fifty, labels={"pbe": Labels(fifty.labels["pbe"].energy, empty)})
    assert_same(replace(store, group=formulae(store.numbers, store.offsets)), fifty)
    assert not store.charge.any()
    assert not store.pbc.any()


PROPERTIES = "lacks species:S:1 or pos:R:3"
REFUSED = {
    "mace without keys": (
        xyz(comment="REF_energy={e}", columns=REFERENCE),
        ONE,
        r"missing key 'energy': the keys found are REF_energy, REF_forces; .*--energy KEY=FIDEL",
    ),
    "heads": (xyz(comment="energy={e} head=h{g}"), ONE, "head has the values .*--level-key head"),
    "cp2k positions": (cp2k, ONE, "energies in the comments .*--energy comment=FIDELITY"),
    "orca comment": (
        xyz(comment="Coordinates from ORCA-job mol E {e}", columns=PLAIN, energy=HARTREE),
        ONE,
        "energies in the comments .* hartree: give --energy-unit",
    ),
    "comment with another unit": (
        xyz(comment="energy: {e} eV", columns=PLAIN, energy=HARTREE),
        mapped("comment"),
        "the energies are not in eV",
    ),
    "frame numbers": (xyz(comment="{g}", columns=PLAIN), mapped("comment"), "not one energy in"),
    "two energies": (
        xyz(comment="energy: {e} of E = {e}", columns=PLAIN, energy=HARTREE),
        mapped("comment"),
        "frame 1 .*: not one energy in the comment 'energy: -",
    ),
    "sgdml text": (
        xyz(comment="{e}", encoded=lambda t: t.replace(f"Properties={COLUMNS} ", "").encode()),
        ONE,
        "atom 1 has 7 columns where Properties describes 4; describe them in the comment line",
    ),
    "positions under another name": (
        xyz(
            columns="species:S:1:pos:R:3", comment="Properties=species:S:1:positions:R:3 energy={e}"
        ),
        ONE,
        PROPERTIES,
    ),
    "decimal comma": (xyz(form=lambda x: repr(x).replace(".", ",")), ONE, "column pos: .*'-?0,60"),
    "thousands": (xyz(form=lambda x: f"{x:_.8f}"), ONE, "energy is '.*_.*', not a number"),
    "minus sign of typography": (
        xyz(form=lambda x: repr(x).replace("-", "\u2212")),
        ONE,
        "column pos: could not convert .*",
    ),
    "wrong units": (xyz(energy=HARTREE), ONE | {"energy_unit": "eV"}, "the energies are not in eV"),
    "bohr": (xyz(length=BOHR), ONE, "lengths look like bohr, not angstrom.*--length-unit bohr"),
    "gradients": (xyz(sign=-1.0), ONE, "give --gradients"),
    "stated otherwise": (xyz(comment=STATED, length=BOHR), ONE, "energies are not in hartree"),
    "output": (orca_output, ONE, r"all\.out: unknown kind .* ase-io is whatever ASE reads"),
    "no output": (
        xyz("set.out"),
        ONE | {"format": "ase-io"},
        r"set\.out: no frames; is it the right",
    ),
    "gzip cut": (
        xyz("set.xyz.gz", lambda t: gzip.compress(t.encode())[:-30]),
        ONE,
        r"set\.xyz\.gz: cannot be read to its end .*truncated",
    ),
    "xz cut": (
        xyz("set.xyz.xz", lambda t: lzma.compress(t.encode())[:-30]),
        ONE,
        r"set\.xyz\.xz: cannot be read to its end .*truncated",
    ),
}


@pytest.mark.parametrize("spelling", REFUSED)
def test_what_is_not_clear_is_refused_with_a_remedy(spelling, fifty, tmp_path) -> None:
    write, options, message = REFUSED[spelling]
    path = write(fifty, tmp_path)
    with pytest.raises(ValueError, match=message):
        import_data(path, **options)


def test_forces_beside_positions_are_named_and_those_of_other_frames_refused(
    fifty, tmp_path
) -> None:
    path = cp2k(fifty, tmp_path)
    forces = path.with_name("w-frc-1.xyz")
    store = import_data(path, energy={"comment": "pbe"})
    assert (
        f"not imported: the forces in {forces} (--forces {forces}=F" in store.manifest.description
    )
    keys = {"energy": {"comment": "pbe"}, "forces": {str(forces): "pbe"}}
    assert_same(import_data(path, **keys, force_unit="hartree/bohr"), fifty)
    with pytest.raises(ValueError, match="give --force-unit hartree/bohr"):
        import_data(path, **keys)
    cp2k(fifty.select(np.roll(np.arange(25), 1)), tmp_path)
    with pytest.raises(ValueError, match=r"frc-1\.xyz: 25 frames where"):
        import_data(xyz()(fifty, tmp_path), forces={str(forces): "pbe"})
    path = xyz(comment="E = {e}", columns=PLAIN, energy=HARTREE)(fifty.select(range(25)), tmp_path)
    with pytest.raises(ValueError, match=r"frame 1 .*other atoms or another energy than in .*set"):
        import_data(path, **keys)


def test_systems_in_boxes_and_damaged_ones(fifty, tmp_path) -> None:
    path = deepmd(fifty, tmp_path)
    for system in path.iterdir():
        (system / "nopbc").unlink()
    with pytest.raises(ValueError, match=r"CH3NO: box\.npy or box\.raw is missing"):
        import_data(path, fidelity="pbe")
    for part in path.rglob("set.*"):
        np.save(
            part / "box.npy", np.tile(9 * np.eye(3).ravel(), (len(np.load(part / "energy.npy")), 1))
        )
    store = import_data(path, fidelity="pbe")
    assert store.pbc.all()
    np.testing.assert_array_equal(store.cell[49], 9 * np.eye(3))
    (path / "CH4O" / "set.001" / "force.npy").unlink()
    with pytest.raises(ValueError, match=r"CH4O: force has shape \(13, 6, 3\), it must be \(25,"):
        import_data(path, fidelity="pbe")
    (path / "CH4O" / "set.000" / "force.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"force\.npy: no force of CH4O .*copy it again"):
        import_data(path, fidelity="pbe")
    (path / "CH3NO" / "type_map.raw").rename(path / "elsewhere")
    with pytest.raises(ValueError, match=r"CH3NO: no type_map\.raw; write the symbol of every ty"):
        import_data(path, fidelity="pbe")
    (path / "elsewhere").rename(path / "CH3NO" / "type_map.raw")
    (path / "CH4O" / "type.raw").write_text("0 1 -1 1 1 1")
    with pytest.raises(ValueError, match=r"CH4O: type\.raw and type_map\.raw do not fit: -1"):
        import_data(path, fidelity="pbe")
