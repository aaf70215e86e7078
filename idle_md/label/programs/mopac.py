"""Semi-empirical PM6 and PM7 by MOPAC's library."""

import importlib.metadata
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from mopactools import api

from idle_md.fidelity import LevelOfTheory
from idle_md.label.programs.base import LabelError, Result
from idle_md.units import KCAL_PER_MOL

ELEMENTS = {*range(1, 58), *range(71, 84)}  # H to La and Lu to Bi; elsewhere it has no parameters
KEYWORDS = "1SCF GRADIENTS PRECISE RELSCF=0.0001 NOREOR AUX(PRECISION=9,MOS=-99999,XP,XS,XW)"
NOTES = "heat of formation, which is the total energy less a constant for every element; PRECISE"
ENERGY = re.compile(r"HEAT_OF_FORMATION:KCAL/MOL=(\S+)")
GRADIENTS = re.compile(r"GRADIENTS:KCAL/MOL/ANGSTROM\[\d+\]=\s*((?:[-+.\d]+\s+)+)")
MESSAGES = re.compile(r"Error and normal termination messages.*?\n(.*?)\*{20}", re.DOTALL)


class Mopac:
    """NDDO methods; PM6: J. Mol. Model. 13, 1173 (2007), PM7: J. Mol. Model. 19, 1 (2013).

    Through an input file, because the library's other interface has gradients that are wrong by
    some meV/angstrom.
    """

    knows_spins = True

    def __init__(self, name: str) -> None:
        version = importlib.metadata.version("mopactools")
        self.theory = LevelOfTheory(
            method=name.upper(), program="MOPAC (mopactools)", version=version, notes=NOTES
        )

    def calculate(self, atoms: Atoms, charge: int, unpaired: int) -> Result:
        """Calculate energy and forces, see :class:`idle_md.label.programs.base.Level`."""
        if atoms.pbc.any():
            raise LabelError("periodic geometries are not calculated with MOPAC")
        unknown = {*atoms.numbers.tolist()} - ELEMENTS
        if unknown:
            raise LabelError(f"{self.theory.method} has no parameters for Z={sorted(unknown)}")
        keywords = f"{self.theory.method} {KEYWORDS} CHARGE={charge}"
        if unpaired:
            keywords += f" UHF MS={unpaired / 2}"
        with tempfile.TemporaryDirectory(prefix="idle_md-mopac-") as folder:
            job = Path(folder) / "job.mop"
            job.write_text(f"{keywords}\n\n\n{_geometry(atoms)}")
            _run(job)
            return _result(job, len(atoms))


def _run(job: Path) -> None:
    """Run an input file, in a child process.

    Once some seconds have passed since its first call in a process, the library starts every call
    with a delay loop of 0.2 CPU seconds; in a child of a process that never called it, each call is
    the first. What it writes says whether it went well.
    """
    child = os.fork()
    if child == 0:
        try:
            api.from_file(str(job))
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _geometry(atoms: Atoms) -> str:
    rows = zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)
    return "".join(f"{symbol} {x:.12f} 1 {y:.12f} 1 {z:.12f} 1\n" for symbol, (x, y, z) in rows)


def _result(job: Path, n_atoms: int) -> Result:
    auxiliary = job.with_suffix(".aux")
    text = auxiliary.read_text() if auxiliary.is_file() else ""
    energy, gradients = ENERGY.search(text), GRADIENTS.search(text)
    found = np.array(gradients[1].split(), dtype=np.float64) if gradients else np.zeros(3)
    if energy is None or len(found) != 3 * n_atoms:  # for one atom none are written
        raise LabelError(_messages(job.with_suffix(".out")))
    forces = -KCAL_PER_MOL * found.reshape(n_atoms, 3)
    return Result(KCAL_PER_MOL * float(energy[1].replace("D", "E")), forces)


def _messages(output: Path) -> str:
    text = output.read_text() if output.is_file() else ""
    found = MESSAGES.search(text)
    lines = re.sub(r"[*\s]+", " ", found[1]).strip() if found else "no output"
    return f"MOPAC gave no energy and gradients: {lines}"
