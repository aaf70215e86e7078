"""What LAMMPS reads: a structure as a data file, and the commands that a model needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import ase
import numpy as np
from ase import units
from numpy.typing import NDArray

from idle_md.cells import in_standard_form
from idle_md.devices import find_device
from idle_md.elements import symbols
from idle_md.engines.choices import Mode, Precision
from idle_md.native.choice import Kernels

MARGIN = 5.0
"""angstrom between the atoms and the faces of the box where a structure is not periodic."""

SKIN = 1.0
"""angstrom; LAMMPS' own 2.0 costs more in neighbours and ghosts than it saves in new lists."""


@dataclass(frozen=True)
class Structure:
    """A structure in the frame that LAMMPS needs, with its cell lower triangular and reduced.

    Attributes
    ----------
    atoms
        Turned and, where it is not periodic, in a box around it.
    rotation
        (3, 3); ``original = turned @ rotation``.
    origin
        (3,) lower corner of the box in angstrom, in the new frame.
    types
        (N,) atom types, from 1.
    elements
        Symbol of every type.
    """

    atoms: ase.Atoms
    rotation: NDArray[np.float64]
    origin: NDArray[np.float64]
    types: NDArray[np.int64]
    elements: list[str]

    @property
    def boundary(self) -> str:
        """Arguments of LAMMPS' command: open faces follow the atoms outwards."""
        return " ".join("p" if periodic else "m" for periodic in self.atoms.pbc)


def place(atoms: ase.Atoms) -> Structure:
    """Turn a structure of any periodicity into LAMMPS' frame.

    Raises
    ------
    ValueError
        If there are no atoms, or periodic directions span no volume.
    """
    if len(atoms) == 0:
        raise ValueError("there are no atoms: LAMMPS needs one at least")
    turned, rotation = in_standard_form(atoms)
    cell, origin = turned.cell.array.copy(), np.zeros(3)
    for k in np.flatnonzero(~atoms.pbc):  # orthogonal to the others
        along = turned.positions[:, k]
        low, high = along.min() - MARGIN, along.max() + MARGIN
        origin[k], cell[k] = low, np.eye(3)[k] * (high - low)
    turned.cell = cell
    kinds = np.stack([atoms.numbers, atoms.get_masses()], 1)  # isotopes are types of their own
    different, types = np.unique(kinds, axis=0, return_inverse=True)
    return Structure(turned, rotation, origin, types.ravel() + 1, symbols(different[:, 0]))


def write_data(structure: Structure, path: Path) -> None:
    """Write a data file of atom style ``atomic`` in ``units metal``, with all digits.

    Velocities are written where the structure has some.
    """
    atoms = structure.atoms
    cell, low = atoms.cell.array, structure.origin
    lines = ["structure written by idle_md", ""]
    lines += [f"{len(atoms)} atoms", f"{len(structure.elements)} atom types", ""]
    for k, axis in enumerate("xyz"):
        lines.append(f"{low[k]:.17g} {low[k] + cell[k, k]:.17g} {axis}lo {axis}hi")
    if cell[1, 0] or cell[2, 0] or cell[2, 1]:
        lines.append(f"{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g} xy xz yz")
    lines += ["", "Masses", ""]
    for t, element in enumerate(structure.elements, 1):
        mass = atoms.get_masses()[np.argmax(structure.types == t)]
        lines.append(f"{t} {mass:.17g}  # {element}")
    lines += ["", "Atoms  # atomic", ""]
    for n, (t, (x, y, z)) in enumerate(zip(structure.types, atoms.positions, strict=True), 1):
        lines.append(f"{n} {t} {x:.17g} {y:.17g} {z:.17g}")
    if atoms.has("momenta"):
        lines += ["", "Velocities", ""]
        for n, (x, y, z) in enumerate(atoms.get_velocities() * (1000 * units.fs), 1):
            lines.append(f"{n} {x:.17g} {y:.17g} {z:.17g}")
    path.write_text("\n".join(lines) + "\n")


def set_up(
    structure: Structure,
    data: Path,
    model: Path,
    mode: Mode | None = None,
    kernels: Kernels = "auto",
    precision: Precision | None = None,
    threads: int | None = None,
    device: str = "cpu",
    relative: bool = False,
) -> list[str]:
    """Return the commands that read a structure and attach a model to it.

    Raises
    ------
    ValueError
        If the mode, the kernels, the precision or the device is unknown.
    """
    for name, value, known in (
        ("mode", mode, get_args(Mode)),
        ("kernels", kernels, get_args(Kernels)),
        ("precision", precision, get_args(Precision)),
    ):
        if value is not None and value not in known:
            raise ValueError(f"unknown {name} {value!r}: use {', '.join(known)}")
    style = ["pair_style idle", *([mode] if mode else []), f"kernels {kernels}"]
    style += [f"precision {precision}"] if precision else []
    style += [f"threads {threads}"] if threads else []
    style += [f"device {device}"] if find_device(device).type != "cpu" else []
    style += ["relative yes"] if relative else []
    return [
        "units metal",
        "atom_style atomic",
        f"boundary {structure.boundary}",
        f'read_data "{data}"',
        f"neighbor {SKIN} bin",
        " ".join(style),
        f'pair_coeff * * "{model}" {" ".join(structure.elements)}',
    ]


def read_dump(path: Path) -> NDArray[np.float64]:
    """Return the numbers of a dump of one frame, a row for every atom."""
    return np.loadtxt(path, skiprows=9, ndmin=2)
