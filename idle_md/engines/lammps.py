"""Deployed models in LAMMPS: single evaluations."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from idle_md.deploy.native import Kernels
from idle_md.engines.lammps_input import Mode, Precision, place, read_dump, set_up, write_data
from idle_md.engines.lammps_run import run_here, run_process

BAR = 1 / 1.6021765e6
"""eV/angstrom^3, as LAMMPS has it in ``units metal``."""


@dataclass(frozen=True)
class LammpsResult:
    """What a model gives in LAMMPS.

    Attributes
    ----------
    energy
        eV.
    forces
        (N, 3) in eV/angstrom.
    stress
        (6,) in eV/angstrom^3, in ASE's order and sign; None unless all directions are periodic.
    virial
        (3, 3) in eV, the sum over edges of ``-r (x) dE/dr``.
    atomic_energies
        (N,) in eV.
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None
    virial: NDArray[np.float64]
    atomic_energies: NDArray[np.float64]


def evaluate_lammps(
    model: str | Path,
    atoms: ase.Atoms,
    mode: Mode | None = None,
    ranks: int = 1,
    kernels: Kernels = "auto",
    precision: Precision | None = None,
    before: Sequence[str] = (),
) -> LammpsResult:
    """Evaluate a deployed model in LAMMPS.

    Parameters
    ----------
    model
        Path of a deployed model.
    atoms
        Of any periodicity.
    mode
        ``"fold"``, ``"ghost"`` or ``"local"``, see ``docs/engines/lammps.md``; by default the
        plugin's choice.
    ranks
        MPI ranks; one runs in this process.
    kernels, precision
        Of ``pair_style idle``.
    before
        Commands of LAMMPS before the evaluation.

    Raises
    ------
    ModuleNotFoundError
        If LAMMPS is not installed, or the plugin not built; names the remedy.
    LammpsError
        If LAMMPS stops with an error; the message is its own.
    """
    structure = place(atoms)
    with tempfile.TemporaryDirectory(prefix="idle_md-") as name:
        folder = Path(name)
        write_data(structure, folder / "structure.data")
        commands = set_up(
            structure, folder / "structure.data", Path(model).resolve(), mode, kernels, precision
        )
        commands += [*before, *_evaluation(folder)]
        if ranks == 1:
            run_here(commands, folder / "log.lammps")
        else:
            run_process(commands, folder, ranks)
        totals = json.loads((folder / "totals.json").read_text())
        table = read_dump(folder / "atoms.dump")
    return _result(totals, table, structure.rotation, bool(atoms.pbc.all()))


def _evaluation(folder: Path) -> list[str]:
    """Return the commands that evaluate once and write what comes out."""
    values = {"energy": "pe", "volume": "vol"} | {f"p{k}": f"c_pressure[{k}]" for k in range(1, 7)}
    written = ", ".join(f'"{name}": $({value}:%.17g)' for name, value in values.items())
    return [
        "compute energies all pe/atom pair",
        "compute pressure all pressure NULL virial",
        f'dump atoms all custom 1 "{folder / "atoms.dump"}" id fx fy fz c_energies',
        "dump_modify atoms sort id format float %.17g",
        "thermo_style custom step pe c_pressure[1]",
        "thermo_modify norm no",
        "run 0",
        f"""print '{{{written}}}' file "{folder / "totals.json"}" screen no""",
    ]


def _result(
    totals: dict[str, Any],
    table: NDArray[np.float64],
    rotation: NDArray[np.float64],
    periodic: bool,
) -> LammpsResult:
    xx, yy, zz, xy, xz, yz = (totals[f"p{k}"] for k in range(1, 7))
    pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) * BAR
    pressure = rotation.T @ pressure @ rotation
    return LammpsResult(
        energy=totals["energy"],
        forces=table[:, 1:4] @ rotation,
        stress=-full_3x3_to_voigt_6_stress(pressure) if periodic else None,
        virial=pressure * totals["volume"],
        atomic_energies=table[:, 4],
    )
