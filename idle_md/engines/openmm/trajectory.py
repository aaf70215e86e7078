"""Trajectories written."""

import io
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray
from openmm import Vec3, app, unit

Writer = Callable[[ase.Atoms], None]
"""Appends a frame; its ``info`` goes into formats that can hold it."""


@dataclass(frozen=True)
class Written:
    """How far a trajectory has got: its size in bytes, and its number of frames."""

    size: int
    frames: int


@dataclass(frozen=True)
class Frames:
    """Which steps the frames of a trajectory are.

    Attributes
    ----------
    step_fs
        Length of a step.
    interval
        Steps between two frames.
    first
        Step of the first frame.
    topology
        Names for PDB; by default residues ``MOL`` of numbered elements.
    """

    step_fs: float
    interval: int = 1
    first: int = 0
    topology: app.Topology | None = None


def part_of(path: str | Path) -> Path:
    """Return where the frames of a trajectory are until it is complete."""
    target = Path(path)
    return target.with_suffix(f".part{target.suffix}")


@contextmanager
def writing_trajectory(
    path: str | Path, frames: Frames | float, written: Written | None = None
) -> Iterator[Writer]:
    """A function that appends frames to a trajectory.

    The frames go to ``NAME.part.SUFFIX`` beside ``path``, which becomes ``path`` when the block
    ends well. An interrupted run leaves the part, readable up to its last frame.

    Parameters
    ----------
    path
        Ends in ``.xyz`` or ``.extxyz`` (extended XYZ), ``.dcd``, ``.xtc`` or ``.pdb``. DCD and XTC
        number the frames by their interval, also where the last one came early; PDB and open DCD
        hold no times, and PDB the cell of the first frame alone.
    frames
        Which steps they are, or just the time between them in fs.
    written
        Go on with a trajectory, complete or not, after this much of it; what an interrupted run
        wrote beyond that is dropped.

    Raises
    ------
    ValueError
        For another suffix, or a trajectory that is shorter than ``written``.
    FileExistsError
        If there is a trajectory or a part, and it is not gone on with, or it is complete and
        longer than ``written``.
    FileNotFoundError
        If there is none, and it should be.
    OSError
        If the file cannot be written.
    """
    target, part = Path(path), part_of(path)
    makers = {".xyz": _xyz_writer, ".extxyz": _xyz_writer, ".dcd": _dcd_writer}
    makers |= {".xtc": _xtc_writer, ".pdb": _pdb_writer}
    make_writer = makers.get(target.suffix.lower())
    if make_writer is None:
        raise ValueError(f"cannot write {target}: a trajectory ends in {', '.join(makers)}")
    _check_existing(target, part, written)
    if not isinstance(frames, Frames):
        frames = Frames(frames)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if written is not None and target.exists():
            target.rename(part)
        file = part.open("r+b" if written else "x+b")
    except OSError as error:
        raise type(error)(
            f"cannot write {target}: {error.strerror}; choose a folder that can be written"
        ) from error
    with file:
        if written is not None:
            _shorten(file, part, written)
        yield make_writer(file, frames, written.frames if written else 0)
    part.replace(target)


def _check_existing(target: Path, part: Path, written: Written | None) -> None:
    there = [path for path in (target, part) if path.exists()]
    if written is not None and len(there) == 2:
        raise FileExistsError(f"{target} and {part} exist: move the one not to go on with away")
    if written is not None and not there:
        raise FileNotFoundError(
            f"no {target} to go on with, nor {part}: put it back, or give another name"
        )
    if written is not None and target.exists() and target.stat().st_size > written.size:
        raise FileExistsError(
            f"{target} is complete and goes on beyond the restart file: take the last restart file "
            "of that run, or give another name"
        )
    if written is None and there:
        what = "a trajectory" if there[0] == target else "what an interrupted run left"
        raise FileExistsError(
            f"{there[0]} exists, {what}: give another name, or move it away; only a restart from "
            "its own checkpoint appends to it"
        )


def _shorten(file: BinaryIO, part: Path, written: Written) -> None:
    if file.seek(0, io.SEEK_END) < written.size:
        raise ValueError(
            f"{part} is shorter than it was when the restart file was written: give another name "
            "for the frames that follow"
        )
    file.truncate(written.size)
    if part.suffix.lower() == ".dcd" and written.frames:
        file.seek(8)
        file.write(struct.pack("<i", written.frames))
    file.flush()
    file.seek(0, io.SEEK_END)


def _xyz_writer(file: BinaryIO, frames: Frames, before: int) -> Writer:
    def write(atoms: ase.Atoms) -> None:
        text = io.StringIO()
        ase.io.write(text, atoms, format="extxyz")
        file.write(text.getvalue().encode())
        file.flush()

    return write


def _dcd_writer(file: BinaryIO, frames: Frames, before: int) -> Writer:
    dcd: list[app.DCDFile] = []

    def write(atoms: ase.Atoms) -> None:
        if not dcd:
            step = frames.step_fs * unit.femtosecond
            topology = _topology(atoms, frames.topology)
            dcd.append(
                app.DCDFile(file, topology, step, frames.first, frames.interval, bool(before))
            )
        dcd[0].writeModel(*_quantities(atoms))

    return write


def _xtc_writer(file: BinaryIO, frames: Frames, before: int) -> Writer:
    xtc: list[app.XTCFile] = []

    def write(atoms: ase.Atoms) -> None:
        if not xtc:
            step = frames.step_fs * unit.femtosecond
            topology = _topology(atoms, frames.topology)
            xtc.append(
                app.XTCFile(file.name, topology, step, frames.first, frames.interval, bool(before))
            )
        xtc[0].writeModel(*_quantities(atoms))

    return write


def _pdb_writer(file: BinaryIO, frames: Frames, before: int) -> Writer:
    count = before

    def write(atoms: ase.Atoms) -> None:
        nonlocal count
        topology, text = _topology(atoms, frames.topology), io.StringIO()
        if count == 0:
            app.PDBFile.writeHeader(topology, text)
        count += 1
        positions = atoms.positions * unit.angstrom
        app.PDBFile.writeModel(topology, positions, text, modelIndex=count, keepIds=True)
        file.write(text.getvalue().encode())
        file.flush()

    return write


def _quantities(atoms: ase.Atoms) -> tuple[unit.Quantity, None, unit.Quantity | None]:
    """Return positions, no cell lengths, and the box vectors."""
    return (
        atoms.positions * unit.angstrom,
        None,
        _box(atoms.cell.array) if atoms.pbc.all() else None,
    )


def _box(cell: NDArray[np.float64]) -> unit.Quantity:
    return [Vec3(*vector) for vector in cell.tolist()] * unit.angstrom


def _topology(atoms: ase.Atoms, known: app.Topology | None) -> app.Topology:
    if known is not None:
        return known
    topology = app.Topology()
    chain = topology.addChain()
    residue, counts = topology.addResidue("MOL", chain), Counter[str]()
    for number in atoms.numbers:
        element = app.Element.getByAtomicNumber(int(number))
        counts[element.symbol] += 1
        if len(f"{element.symbol}{counts[element.symbol]}") > 4:  # what a PDB file can hold
            residue, counts = topology.addResidue("MOL", chain), Counter({element.symbol: 1})
        topology.addAtom(f"{element.symbol}{counts[element.symbol]}", element, residue)
    if atoms.pbc.all():
        tilts = np.tril(atoms.cell.array, -1) * (1.0 - 1e-9)  # a half may be more by rounding
        topology.setPeriodicBoxVectors(_box(tilts + np.diag(np.diag(atoms.cell.array))))
    return topology
