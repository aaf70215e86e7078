"""Structures read from files, their atoms counted; light, for engines that do without OpenMM."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import ase
import ase.io

if TYPE_CHECKING:
    from openmm import app

CIF_WORD = re.compile(r"""'.*?'(?=\s)|".*?"(?=\s)|\S+""")
"""A value of a record in a PDBx/mmCIF file."""
CIF_IDENTITY = ("auth_asym_id", "label_asym_id", "auth_seq_id", "label_seq_id", "label_atom_id")
"""What locations of one atom have in common there."""


def read_structure(path: str | Path) -> ase.Atoms:
    """Read the first structure of a PDB file, or of any file that ASE reads.

    OpenMM reads PDB files: it knows the elements of residues whose atoms do not name them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, holds particles without an element, or, in a PDB file, other atoms
        than were read.
    ModuleNotFoundError
        If it is a PDB file and OpenMM, which reads those, is not installed.
    """
    path = _existing(path)
    try:
        if path.suffix.lower() == ".pdb":
            return _read_pdb(path)
        return next(ase.io.iread(path, index=0))
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def read_structures(path: str | Path) -> list[ase.Atoms]:
    """Read all structures of a file that ASE reads, PDB files among them; those without atoms not.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or is a PDB file with other atoms than were read.
    """
    path = _existing(path)
    try:
        images = [atoms for atoms in ase.io.iread(path, index=":") if len(atoms)]
        if not images:
            raise ValueError("there are no atoms in it")
        if path.suffix.lower() == ".pdb":
            check_records(path, len(images[0]))
    except Exception as error:
        raise _unreadable(path, error) from error
    return images


def check_records(path: Path, n_read: int) -> None:
    """Check that as many atoms were read as the first model of a PDB or PDBx/mmCIF file holds.

    OpenMM takes atoms of one name in a residue for one atom; ASE takes alternative
    locations of an atom for several.

    Raises
    ------
    ValueError
        If the numbers differ; names both and the remedy.
    """
    n_atoms = (_count_cif_atoms if path.suffix.lower() == ".cif" else _count_pdb_atoms)(path)
    if n_read != n_atoms:
        raise ValueError(
            f"{n_read} atoms were read of {n_atoms} that the first model holds: give the atoms of "
            "a residue names of their own, such as C1 and C2, and each of them one location, or "
            "convert the file to XYZ"
        )


def _count_pdb_atoms(path: Path) -> int:
    """Return the number of atoms of the first model; one with several locations counts once."""
    n_atoms, alternatives = 0, set()
    with path.open() as lines:
        for line in lines:
            if line.startswith(("ATOM  ", "HETATM")):
                if line[16:17] in (" ", ""):
                    n_atoms += 1
                else:
                    alternatives.add((line[12:16], line[21:27]))  # its name, and which residue
            elif line.startswith("END"):
                break
    return n_atoms + len(alternatives)


def _count_cif_atoms(path: Path) -> int:
    """Return what :func:`_count_pdb_atoms` does, of the atom_site records of a PDBx/mmCIF file."""
    columns: list[str] = []
    n_atoms, alternatives, models = 0, set(), set()
    with path.open() as lines:
        for line in lines:
            if line.startswith("_atom_site."):
                columns.append(line.split()[0].partition(".")[2])
            elif columns and line.startswith(("ATOM", "HETATM")):
                record = dict(zip(columns, CIF_WORD.findall(line), strict=True))
                models.add(record.get("pdbx_PDB_model_num"))
                if len(models) > 1:
                    break
                if record.get("label_alt_id", ".") in ".?":
                    n_atoms += 1
                else:
                    alternatives.add(tuple(record.get(name) for name in CIF_IDENTITY))
    return n_atoms + len(alternatives)


def from_openmm(file: "app.PDBFile | app.PDBxFile") -> ase.Atoms:
    """Return the first structure of a file that OpenMM has read, with the masses of isotopes.

    Particles without an element have the number 0.
    """
    from openmm import app, unit

    elements = [atom.element for atom in file.topology.atoms()]
    box = file.topology.getPeriodicBoxVectors()
    atoms = ase.Atoms(
        numbers=[0 if element is None else element.atomic_number for element in elements],
        positions=file.getPositions(asNumpy=True).value_in_unit(unit.angstrom),
        cell=None if box is None else box.value_in_unit(unit.angstrom),
        pbc=box is not None,
    )
    masses = atoms.get_masses()
    for k, element in enumerate(elements):
        if element not in (None, app.Element.getByAtomicNumber(max(1, atoms.numbers[k]))):
            masses[k] = element.mass.value_in_unit(unit.dalton)  # deuterium
            atoms.set_masses(masses)
    return atoms


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no structure at {path}")
    return Path(path)


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read as a structure: {error}")


def _read_pdb(path: Path) -> ase.Atoms:
    from openmm import app

    atoms = from_openmm(app.PDBFile(str(path)))
    check_records(path, len(atoms))
    if 0 in atoms.numbers:
        unknown = atoms.numbers.tolist().index(0)
        raise ValueError(f"atom {unknown} has no element: fill columns 77 and 78")
    return atoms
