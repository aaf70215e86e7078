"""Structures read and trajectories written."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import ase
import ase.io
from openmm import app, unit

Writer = Callable[[ase.Atoms], None]
"""Appends a frame; its ``info`` goes into formats that can hold it."""


def read_structure(path: str | Path) -> ase.Atoms:
    """Read the first structure of a PDB file, or of any file that ASE reads.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or holds particles without an element.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no structure at {path}")
    try:
        if path.suffix.lower() == ".pdb":
            return _read_pdb(path)
        return next(ase.io.iread(path, index=0))
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a structure: {error}") from error


def _read_pdb(path: Path) -> ase.Atoms:
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


@contextmanager
def writing_trajectory(path: str | Path, step_fs: float) -> Iterator[Writer]:
    """A function that appends frames to a trajectory.

    The frames go to ``NAME.part.SUFFIX`` beside ``path``, which becomes ``path`` when the block
    ends well. An interrupted run leaves the part, readable up to its last frame.

    Parameters
    ----------
    path
        Ends in ``.xyz`` or ``.extxyz`` (extended XYZ) or ``.dcd``.
    step_fs
        Time between frames.

    Raises
    ------
    ValueError
        For another suffix.
    OSError
        If the file cannot be written.
    """
    target = Path(path)
    makers = {".xyz": _xyz_writer, ".extxyz": _xyz_writer, ".dcd": _dcd_writer}
    make_writer = makers.get(target.suffix.lower())
    if make_writer is None:
        raise ValueError(f"cannot write {target}: a trajectory ends in {', '.join(makers)}")
    part = target.with_suffix(f".part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("w+b")
    except OSError as error:
        raise type(error)(
            f"cannot write {target}: {error.strerror}; choose a folder that can be written"
        ) from error
    with file:
        yield make_writer(file, step_fs)
    part.replace(target)


def _xyz_writer(file: BinaryIO, step_fs: float) -> Writer:
    def write(atoms: ase.Atoms) -> None:
        text = io.StringIO()
        ase.io.write(text, atoms, format="extxyz")
        file.write(text.getvalue().encode())
        file.flush()

    return write


def _dcd_writer(file: BinaryIO, step_fs: float) -> Writer:
    dcd: list[app.DCDFile] = []

    def write(atoms: ase.Atoms) -> None:
        if not dcd:
            dcd.append(app.DCDFile(file, _topology(atoms), step_fs * unit.femtosecond))
        dcd[0].writeModel(
            atoms.positions * unit.angstrom,
            periodicBoxVectors=atoms.cell.array * unit.angstrom if atoms.pbc.all() else None,
        )

    return write


def _topology(atoms: ase.Atoms) -> app.Topology:
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number in atoms.numbers:
        element = app.Element.getByAtomicNumber(int(number))
        topology.addAtom(element.symbol, element, residue)
    return topology
