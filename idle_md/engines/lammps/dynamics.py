"""Molecular dynamics with a deployed model in LAMMPS."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import ase
import numpy as np
from ase import units
from numpy.typing import NDArray

from idle_md.deploy.kernels import Kernels
from idle_md.engines.lammps.input import (
    Mode,
    Precision,
    Structure,
    place,
    read_dump,
    set_up,
    write_data,
)
from idle_md.engines.lammps.process import run_process

Ensemble = Literal["nve", "nvt", "npt"]
Progress = Callable[[int, float], None]
"""Called with the steps done and the speed in ns/day."""

COLUMNS = ("step", "time", "pe", "ke", "press", "cpu")
PRESSURE_DAMPING = 1.0  # ps
FORCE_TOLERANCE = 0.01  # eV/angstrom


@dataclass(frozen=True)
class LammpsMDResult:
    """What a run gave, and the ranks that ran it.

    As :class:`~idle_md.engines.openmm.dynamics.MDResult`.
    """

    ranks: int
    steps: int
    ns_per_day: float
    times_ps: NDArray[np.float64]
    potential_ev: NDArray[np.float64]
    kinetic_ev: NDArray[np.float64]
    nve_drift_mev_per_atom_per_ps: float | None
    final: ase.Atoms

    @property
    def total_ev(self) -> NDArray[np.float64]:
        """Total energy of every report (n,) in eV."""
        return self.potential_ev + self.kinetic_ev


def run_lammps_md(
    model: str | Path,
    atoms: ase.Atoms,
    *,
    ensemble: Ensemble = "nvt",
    temperature_K: float = 300.0,
    timestep_fs: float = 0.5,
    steps: int = 1000,
    interval: int = 100,
    friction_per_ps: float = 1.0,
    pressure_bar: float = 1.0,
    minimize: bool = False,
    trajectory: str | Path | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_interval: int | None = None,
    restart: str | Path | None = None,
    mode: Mode | None = None,
    ranks: int = 1,
    kernels: Kernels = "auto",
    precision: Precision | None = None,
    threads: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> LammpsMDResult:
    """Run molecular dynamics of a structure in LAMMPS.

    Parameters
    ----------
    model
        Path of a deployed model.
    atoms
        Start, of any periodicity. On a restart, the start of the first run.
    ensemble
        ``"nve"``, ``"nvt"`` (Langevin) or ``"npt"`` (Langevin and an isotropic barostat).
    temperature_K, friction_per_ps, pressure_bar
        Of the initial velocities, unless the structure has some, of the thermostat and the
        barostat.
    timestep_fs, steps, interval
        Length of a step, number of steps to do, and steps between two reports or frames.
    minimize
        Relax the start first.
    trajectory
        ``.xyz`` (extended), ``.dcd``, ``.xtc`` or ``.lammpstrj``, in LAMMPS' own frame, where the
        first lattice vector is along x. A restart appends to it.
    checkpoint, checkpoint_interval
        LAMMPS' restart file, and how often it is written, ``interval`` by default.
    restart
        Such a file to go on from.
    mode, ranks, kernels, precision, threads
        How the model runs, see :func:`~idle_md.engines.lammps.single_point.evaluate_lammps`.
    seed
        Of velocities and thermostat.
    progress
        Called after every interval.

    Raises
    ------
    ModuleNotFoundError
        If LAMMPS is not installed, or the plugin not built; names the remedy.
    LammpsError
        If LAMMPS stops with an error; the message is its own.
    ValueError
        If the ensemble or the format of the trajectory is unknown, or an open structure is to
        have a pressure.
    FileExistsError
        If there is a trajectory of that name, and this is no restart.
    """
    if ensemble == "npt" and not atoms.pbc.all():
        raise ValueError("an open structure has no pressure: use nvt")
    if restart is not None and minimize:
        raise ValueError("a restart goes on from where it was: leave minimize out")
    structure, reports = place(atoms), _Reports(timestep_fs, progress)
    with tempfile.TemporaryDirectory(prefix="idle_md-") as name:
        folder = Path(name)
        data = folder / "start.data"
        write_data(structure, data)
        commands = set_up(structure, data, Path(model).resolve(), mode, kernels, precision, threads)
        if restart is not None:
            commands = _from_restart(commands, Path(restart))
        else:
            commands += _start(structure, temperature_K, minimize, seed)
        commands += _dynamics(ensemble, temperature_K, friction_per_ps, pressure_bar, seed)
        if trajectory is not None:
            commands += _frames(structure, Path(trajectory), interval, restart is not None)
        if checkpoint is not None:
            saved = Path(checkpoint).resolve()
            commands.append(f'restart {checkpoint_interval or interval} "{saved}.1" "{saved}.2"')
        commands += [
            f"timestep {timestep_fs / 1000:.17g}",
            f"thermo {interval}",
            f"thermo_style custom {' '.join(COLUMNS)}",
            "thermo_modify norm no flush yes format float %.12g",
            f"run {steps}",
            *([f'write_restart "{saved}"'] if checkpoint is not None else []),
            *_last(folder),
        ]
        run_process(commands, folder, ranks, threads, reports.listen)
        final = _final(folder, structure)
    table = np.array(reports.rows)
    drift = _drift(table, len(atoms)) if ensemble == "nve" else None
    speed = steps * timestep_fs * 1e-6 / reports.seconds * 86400
    return LammpsMDResult(ranks, steps, speed, table[:, 1], table[:, 2], table[:, 3], drift, final)


def _from_restart(commands: list[str], restart: Path) -> list[str]:
    """Read a restart file, which holds units and boundaries, instead of a structure."""
    if not restart.is_file():
        raise FileNotFoundError(f"no restart file at {restart}")
    held = ("units", "atom_style", "boundary")
    kept = [line for line in commands if not line.startswith(held)]
    read = f'read_restart "{restart.resolve()}"'
    return [read if line.startswith("read_data") else line for line in kept]


def _start(structure: Structure, temperature_K: float, minimize: bool, seed: int) -> list[str]:
    commands = []
    if minimize:
        commands += [f"minimize 0.0 {FORCE_TOLERANCE} 1000 10000", "reset_timestep 0"]
    if not structure.atoms.has("momenta") and temperature_K > 0:
        rotation = "no" if structure.atoms.pbc.any() or len(structure.atoms) < 3 else "yes"
        commands.append(
            f"velocity all create {temperature_K} {seed + 1} dist gaussian mom yes rot {rotation}"
        )
    return commands


def _dynamics(
    ensemble: Ensemble, temperature_K: float, friction: float, pressure: float, seed: int
) -> list[str]:
    thermostat = f"fix bath all langevin {temperature_K} {temperature_K} {1 / friction} {seed + 1}"
    barostat = f"fix move all nph iso {pressure} {pressure} {PRESSURE_DAMPING}"
    known = {
        "nve": ["fix move all nve"],
        "nvt": ["fix move all nve", thermostat],
        "npt": [barostat, thermostat],
    }
    if ensemble not in known:
        raise ValueError(f"unknown ensemble {ensemble!r}: use {', '.join(known)}")
    return known[ensemble]


def _frames(structure: Structure, path: Path, interval: int, append: bool) -> list[str]:
    """Return the commands that write a trajectory."""
    styles = {".xyz": "extxyz", ".dcd": "dcd", ".xtc": "xtc", ".lammpstrj": "custom"}
    if path.suffix not in styles:
        raise ValueError(f"unknown trajectory {path}: its name ends in {', '.join(styles)}")
    if path.exists() and not append:
        raise FileExistsError(f"{path} is there already: remove it or choose another name")
    style = styles[path.suffix]
    columns = " id element x y z vx vy vz fx fy fz" if style == "custom" else ""
    modify = "dump_modify frames sort id"
    if style in ("extxyz", "custom"):
        modify += f" element {' '.join(structure.elements)}"
    if style == "custom":
        modify += " format float %.10g"
    if append:
        modify += " append yes"
        if path.exists():  # it holds the frame that the run goes on from
            modify += " delay $(step+1)"
    return [f'dump frames all {style} {interval} "{path.resolve()}"{columns}', modify]


def _last(folder: Path) -> list[str]:
    """Return the commands that write the last structure."""
    cell = ", ".join(f'"{name}": $({name}:%.17g)' for name in ("lx", "ly", "lz", "xy", "xz", "yz"))
    return [
        f'write_dump all custom "{folder / "last.dump"}" id xu yu zu vx vy vz '
        "modify sort id format float %.17g",
        f"""print '{{{cell}}}' file "{folder / "cell.json"}" screen no""",
    ]


def _final(folder: Path, structure: Structure) -> ase.Atoms:
    table = read_dump(folder / "last.dump")
    box = json.loads((folder / "cell.json").read_text())
    cell = np.array(
        [[box["lx"], 0, 0], [box["xy"], box["ly"], 0], [box["xz"], box["yz"], box["lz"]]]
    )
    atoms: ase.Atoms = structure.atoms.copy()
    atoms.positions = table[:, 1:4] @ structure.rotation
    atoms.cell = np.where(atoms.pbc[:, None], cell, 0.0) @ structure.rotation
    atoms.set_velocities(table[:, 4:7] @ structure.rotation / (1000 * units.fs))
    return atoms


def _drift(table: NDArray[np.float64], n_atoms: int) -> float | None:
    if len(table) < 3:
        return None
    slope = np.polyfit(table[:, 1], table[:, 2] + table[:, 3], 1)[0]
    return float(slope) * 1000 / n_atoms


@dataclass
class _Reports:
    """Reads what LAMMPS prints of the dynamics."""

    timestep_fs: float
    progress: Progress | None
    rows: list[list[float]] = field(default_factory=list)
    seconds: float = float("inf")
    header: bool = False

    def listen(self, line: str) -> None:
        words = line.split()
        if words[:2] == ["Step", "Time"]:
            self.header = True
        elif line.startswith("Loop time of") and self.header:
            self.header, self.seconds = False, max(float(words[3]), 1e-9)
        elif self.header and len(words) == len(COLUMNS) and words[0].isdigit():
            self.rows.append([float(word) for word in words])
            done = self.rows[-1][0] - self.rows[0][0]
            if self.progress is not None and done:
                days = max(self.rows[-1][-1], 1e-9) / 86400
                self.progress(int(done), done * self.timestep_fs * 1e-6 / days)
