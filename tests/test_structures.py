"""Structures as files give them, and files that give other atoms than they seem to."""

import sys

import ase
import ase.build
import ase.io
import numpy as np
import pytest

from idle_md.structures import check_records, read_structure, read_structures

ETHANOL = ase.build.molecule("CH3CH2OH")
RECORD = (
    "ATOM  {k:5d} {name:<4}{location}{residue:>3} A{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
    "  1.00  0.00          {symbol:>2}\n"
)


def pdb_of(atoms, names, location=" ") -> str:
    """Records of one residue."""
    rows = zip(names, atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)
    return "".join(
        RECORD.format(
            k=k,
            name=f" {name}",
            location=location,
            residue="MOL",
            number=1,
            symbol=symbol,
            x=x,
            y=y,
            z=z,
        )
        for k, (name, symbol, (x, y, z)) in enumerate(rows, start=1)
    )


def test_pdb_is_read_with_elements_and_cell(tmp_path) -> None:
    pytest.importorskip("openmm")
    from openmm import app, unit

    topology = app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    for name, symbol in (("O", "O"), ("H1", "H"), ("H2", "H")):
        topology.addAtom(name, app.Element.getBySymbol(symbol), residue)
    topology.setUnitCellDimensions((2.0, 2.1, 2.2))
    positions = np.array([[0.1, 0.2, 0.3], [1.0, 0.2, 0.3], [-0.1, 1.1, 0.3]])
    with (tmp_path / "water.pdb").open("w") as file:
        app.PDBFile.writeFile(topology, positions * unit.angstrom, file)
    atoms = read_structure(tmp_path / "water.pdb")
    assert atoms.get_chemical_formula() == "H2O"
    assert list(atoms.numbers) == [8, 1, 1]
    np.testing.assert_allclose(atoms.positions, positions, atol=1e-3)
    np.testing.assert_allclose(atoms.cell.array, np.diag([20.0, 21.0, 22.0]), atol=1e-3)
    assert atoms.pbc.all()


def test_xyz_is_read(tmp_path) -> None:
    ase.io.write(tmp_path / "ethanol.xyz", [ETHANOL, ETHANOL])
    atoms = read_structure(tmp_path / "ethanol.xyz")
    assert not atoms.pbc.any()
    np.testing.assert_allclose(atoms.positions, ETHANOL.positions, atol=1e-7)


def test_pdb_without_atoms_is_refused(tmp_path) -> None:
    (tmp_path / "empty.pdb").write_text("END\n")
    with pytest.raises(ValueError, match=r"empty\.pdb cannot be read .* no atoms in it"):
        read_structures(tmp_path / "empty.pdb")


def test_missing_and_unreadable_structures_are_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no structure at .*absent\.xyz"):
        read_structure(tmp_path / "absent.xyz")
    (tmp_path / "bad.xyz").write_text("three\natoms\n")
    with pytest.raises(ValueError, match=r"bad\.xyz cannot be read as a structure"):
        read_structure(tmp_path / "bad.xyz")
    (tmp_path / "bad.pdb").write_text(
        "ATOM      1  Q1  XXX A   1       0.000   0.000   0.000  1.00  0.00\nEND\n"
    )
    with pytest.raises(ValueError, match=r"bad\.pdb .*atom 0 has no element: fill columns 77"):
        read_structure(tmp_path / "bad.pdb")


def test_pdb_without_openmm_names_what_is_missing(tmp_path, monkeypatch) -> None:
    (tmp_path / "start.pdb").write_text("END\n")
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ModuleNotFoundError, match="openmm"):
        read_structure(tmp_path / "start.pdb")


@pytest.mark.filterwarnings("ignore:WARNING. duplicate atom")
def test_pdb_whose_atoms_are_named_by_element_alone_is_refused(tmp_path) -> None:
    pytest.importorskip("openmm")
    path, symbols = tmp_path / "ethanol.pdb", ETHANOL.get_chemical_symbols()
    path.write_text(pdb_of(ETHANOL, symbols) + "END\n")  # C, C, O, H, ...
    with pytest.raises(ValueError, match=r"3 atoms were read of 9 .* names of their own.*XYZ"):
        read_structure(path)
    np.testing.assert_allclose(read_structures(path)[0].positions, ETHANOL.positions, atol=1e-3)
    path.write_text(pdb_of(ETHANOL, [f"{symbol}{k}" for k, symbol in enumerate(symbols)]) + "END\n")
    for atoms in (read_structure(path), read_structures(path)[0]):
        assert atoms.get_chemical_symbols() == symbols
        np.testing.assert_allclose(atoms.positions, ETHANOL.positions, atol=1e-3)


def test_models_of_a_pdb_are_structures(tmp_path) -> None:
    pytest.importorskip("openmm")
    names = [f"{symbol}{k}" for k, symbol in enumerate(ETHANOL.get_chemical_symbols())]
    moved = ETHANOL.copy()
    moved.positions += 1.0
    models = [f"MODEL     1\n{pdb_of(atoms, names)}ENDMDL\n" for atoms in (ETHANOL, moved)]
    (tmp_path / "two.pdb").write_text("".join(models) + "END\n")
    assert len(read_structure(tmp_path / "two.pdb")) == 9
    assert [len(atoms) for atoms in read_structures(tmp_path / "two.pdb")] == [9, 9]


def test_locations_of_one_atom_are_one_atom(tmp_path) -> None:
    pytest.importorskip("openmm")
    path, water = tmp_path / "water.pdb", ase.build.molecule("H2O")
    moved = water.copy()
    moved.positions += 0.2
    names = ["O", "H1", "H2"]
    path.write_text(pdb_of(water, names, "A") + pdb_of(moved, names, "B") + "END\n")
    np.testing.assert_allclose(read_structure(path).positions, water.positions, atol=1e-3)
    with pytest.raises(ValueError, match=r"6 atoms were read of 3 .* each of them one location"):
        read_structures(path)


def test_isotopes_have_their_mass(tmp_path) -> None:
    pytest.importorskip("openmm")
    path, water = tmp_path / "heavy.pdb", ase.build.molecule("H2O")
    text = pdb_of(water, ["O", "D1", "H2"])
    path.write_text(text.replace("           H\n", "           D\n", 1) + "END\n")
    atoms = read_structure(path)
    assert atoms.get_chemical_symbols() == ["O", "H", "H"]
    np.testing.assert_allclose(atoms.get_masses(), [15.999, 2.014, 1.008], atol=1e-3)


CIF = """data_x
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.pdbx_PDB_model_num
"""


def cif_of(atoms, names, location=".", model=1) -> str:
    """Records of one residue."""
    return "".join(
        f"ATOM {k} {s} {name} {location} MOL A 1 {x} {y} {z} {model}\n"
        for k, (name, s, (x, y, z)) in enumerate(
            zip(names, atoms.get_chemical_symbols(), atoms.positions, strict=True)
        )
    )


def test_records_of_mmcif_are_counted(tmp_path) -> None:
    """Names by element alone are lost where the location is unknown."""
    app = pytest.importorskip("openmm.app")
    path, symbols = tmp_path / "ethanol.cif", ETHANOL.get_chemical_symbols()
    names = [f'"{symbol}{k}\'"' for k, symbol in enumerate(symbols)]
    good = [
        cif_of(ETHANOL, names) + cif_of(ETHANOL, names, model=2),
        cif_of(ETHANOL, names, "A") + cif_of(ETHANOL, names, "B"),
    ]
    for records in good:
        path.write_text(CIF + records + "#\n")
        check_records(path, app.PDBxFile(str(path)).topology.getNumAtoms())
    path.write_text(CIF + cif_of(ETHANOL, symbols, "?") + "#\n")
    with pytest.raises(ValueError, match=r"3 atoms were read of 9 .* names of their own"):
        check_records(path, app.PDBxFile(str(path)).topology.getNumAtoms())
