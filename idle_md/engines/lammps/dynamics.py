"""Molecular dynamics with a deployed model in LAMMPS."""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import ase
import numpy as np
from ase import units

from idle_md.deploy import DeployedModel, read_metadata
from idle_md.deploy.gate import check_use
from idle_md.engines.lammps.input import Structure, place, read_dump, set_up, write_data
from idle_md.engines.lammps.process import check_there, run_process
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.results import MDResult, Progress, ns_per_day
from idle_md.engines.run_file import write_run_file
from idle_md.engines.start_checks import check_start
from idle_md.models import model_path
from idle_md.structures import read_structure

COLUMNS = ("step", "time", "pe", "ke", "press", "cpu")
PRESSURE_DAMPING = 1.0  # ps
FORCE_TOLERANCE = 0.01  # eV/angstrom


def run_lammps(
    model: DeployedModel | str | Path,
    structure: ase.Atoms | str | Path,
    settings: MDSettings,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics of a structure in LAMMPS.

    NVT is Langevin, NPT the same with an isotropic barostat. The start may have any periodicity,
    and keeps the velocities that it has. Trajectories, also as ``.lammpstrj``, are in LAMMPS' own
    frame, where the first lattice vector is along x. An interrupted run leaves its last two restart
    files as ``NAME.1`` and ``NAME.2``.

    Parameters
    ----------
    model
        Path or name of a deployed model.
    structure, settings, progress
        See :func:`~idle_md.engines.dynamics.run_md`, which also says what raises.
    """
    if isinstance(model, DeployedModel):
        raise ValueError("LAMMPS reads the file of a model: give its path")
    atoms = structure if isinstance(structure, ase.Atoms) else read_structure(structure)
    if settings.ensemble == "npt" and not atoms.pbc.all():
        raise ValueError("an open structure has no pressure: use nvt")
    settings = settings.model_copy(update={"threads": settings.threads or 1})
    check_start(atoms)
    about, whole = read_metadata(model), not atoms.pbc.any()
    check_use(about, atoms.numbers, state=settings.state_of(atoms), is_whole=whole)
    placed, listener = place(atoms), _Listener(settings.timestep_fs, progress)
    with tempfile.TemporaryDirectory(prefix="idle_md-") as name:
        folder = Path(name)
        commands = [*_commands(model_path(model), placed, settings, folder), *_last(folder)]
        check_there()
        appends = settings.restart is not None and _exists(settings.trajectory)
        write_run_file(model, structure, settings, appends)
        run_process(commands, folder, settings.ranks, settings.threads or 1, listener.listen)
        final = _final(folder, placed)
    table = np.array(listener.rows)
    return MDResult(
        settings=settings,
        ns_per_day=ns_per_day(settings.steps, settings.timestep_fs, listener.seconds),
        times_ps=table[:, 1],
        potential_ev=table[:, 2],
        kinetic_ev=table[:, 3],
        final=final,
    )


def _commands(model: Path, structure: Structure, settings: MDSettings, folder: Path) -> list[str]:
    """Return the commands from the start to the last step."""
    data = folder / "start.data"
    write_data(structure, data)
    commands = set_up(
        structure,
        data,
        model.resolve(),
        settings.mode,
        settings.kernels,
        settings.precision,
        settings.threads,
        settings.device,
    )
    if settings.restart is not None:
        commands = _from_restart(commands, settings.restart)
    else:
        commands += _start(structure, settings)
    commands += _ensemble(settings)
    if settings.trajectory is not None:
        commands += _frames(structure, settings.trajectory, settings)
    if settings.checkpoint is not None:
        saved, interval = settings.checkpoint.resolve(), settings.checkpoint_interval
        commands.append(f'restart {interval or settings.interval} "{saved}.1" "{saved}.2"')
    return [
        *commands,
        f"timestep {settings.timestep_fs / 1000:.17g}",
        f"thermo {settings.interval}",
        f"thermo_style custom {' '.join(COLUMNS)}",
        "thermo_modify norm no flush yes format float %.12g",
        f"run {settings.steps}",
        *([f'write_restart "{saved}"'] if settings.checkpoint is not None else []),
    ]


def _exists(path: Path | None) -> bool:
    return path is not None and path.exists()


def _from_restart(commands: list[str], restart: Path) -> list[str]:
    """Read a restart file, which holds units and boundaries, instead of a structure."""
    if not restart.is_file():
        raise FileNotFoundError(f"no restart file at {restart}")
    held = ("units", "atom_style", "boundary")
    kept = [line for line in commands if not line.startswith(held)]
    read = f'read_restart "{restart.resolve()}"'
    return [read if line.startswith("read_data") else line for line in kept]


def _start(structure: Structure, settings: MDSettings) -> list[str]:
    commands, temperature = [], settings.temperature_K
    if settings.minimize:
        commands += [f"minimize 0.0 {FORCE_TOLERANCE} 1000 10000", "reset_timestep 0"]
    if not structure.atoms.has("momenta") and temperature > 0:
        rotation = "no" if structure.atoms.pbc.any() or len(structure.atoms) < 3 else "yes"
        commands.append(
            f"velocity all create {temperature} {settings.seed + 1} dist gaussian mom yes "
            f"rot {rotation}"
        )
    return commands


def _ensemble(settings: MDSettings) -> list[str]:
    temperature, pressure = settings.temperature_K, settings.pressure_bar
    if settings.ensemble == "nve":
        return ["fix move all nve"]
    thermostat = (
        f"fix bath all langevin {temperature} {temperature} {1 / settings.friction_per_ps} "
        f"{settings.seed + 1}"
    )
    if settings.ensemble == "nvt":
        return ["fix move all nve", thermostat]
    return [f"fix move all nph iso {pressure} {pressure} {PRESSURE_DAMPING}", thermostat]


def _frames(structure: Structure, path: Path, settings: MDSettings) -> list[str]:
    """Return the commands that write a trajectory."""
    styles = {".xyz": "extxyz", ".dcd": "dcd", ".xtc": "xtc", ".lammpstrj": "custom"}
    if path.suffix not in styles:
        raise ValueError(f"unknown trajectory {path}: its name ends in {', '.join(styles)}")
    append = settings.restart is not None
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
    return [f'dump frames all {style} {settings.interval} "{path.resolve()}"{columns}', modify]


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


@dataclass
class _Listener:
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
                seconds = max(self.rows[-1][-1], 1e-9)
                self.progress(int(done), ns_per_day(done, self.timestep_fs, seconds))
