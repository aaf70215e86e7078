"""Structures read from files, their atoms counted; light, for engines that do without OpenMM."""

from pathlib import Path

import ase
import ase.io


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
            check_pdb_atoms(path, len(images[0]))
    except Exception as error:
        raise _unreadable(path, error) from error
    return images


def check_pdb_atoms(path: Path, n_read: int) -> None:
    """Check that as many atoms were read as the first model of a PDB file holds.

    OpenMM takes atoms of one name in a residue for one atom; ASE takes alternative
    locations of an atom for several.

    Raises
    ------
    ValueError
        If the numbers differ; names both and the remedy.
    """
    n_atoms = _count_pdb_atoms(path)
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


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no structure at {path}")
    return Path(path)


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read as a structure: {error}")


def _read_pdb(path: Path) -> ase.Atoms:
    from openmm import app, unit

    pdb = app.PDBFile(str(path))
    elements = [atom.element for atom in pdb.topology.atoms()]
    check_pdb_atoms(path, len(elements))
    if None in elements:
        raise ValueError(f"atom {elements.index(None)} has no element: fill columns 77 and 78")
    box = pdb.topology.getPeriodicBoxVectors()
    return ase.Atoms(
        numbers=[element.atomic_number for element in elements],
        positions=pdb.getPositions(asNumpy=True).value_in_unit(unit.angstrom),
        cell=None if box is None else box.value_in_unit(unit.angstrom),
        pbc=box is not None,
    )
