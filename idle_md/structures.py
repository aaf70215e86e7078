"""Structures read; light, for engines that do without OpenMM."""

from pathlib import Path

import ase
import ase.io


def read_structure(path: str | Path) -> ase.Atoms:
    """Read the first structure of a PDB file, or of any file that ASE reads.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or holds particles without an element.
    ModuleNotFoundError
        If it is a PDB file and OpenMM, which reads those, is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no structure at {path}")
    try:
        if path.suffix.lower() == ".pdb":
            return _read_pdb(path)
        return next(ase.io.iread(path, index=0))
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a structure: {error}") from error


def _read_pdb(path: Path) -> ase.Atoms:
    from openmm import app, unit

    pdb = app.PDBFile(str(path))
    elements = [atom.element for atom in pdb.topology.atoms()]
    if None in elements:
        raise ValueError(f"atom {elements.index(None)} has no element: fill columns 77 and 78")
    box = pdb.topology.getPeriodicBoxVectors()
    return ase.Atoms(
        numbers=[element.atomic_number for element in elements],
        positions=pdb.getPositions(asNumpy=True).value_in_unit(unit.angstrom),
        cell=None if box is None else box.value_in_unit(unit.angstrom),
        pbc=box is not None,
    )
