"""Deployed models in LAMMPS: single evaluations."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from idle_md.deploy import read_metadata
from idle_md.deploy.gate import Remarks
from idle_md.deploy.kernels import Kernels
from idle_md.engines.choices import Mode, Precision
from idle_md.engines.lammps.input import place, read_dump, set_up, write_data
from idle_md.engines.lammps.process import LammpsError, run_here, run_process
from idle_md.engines.results import Prediction
from idle_md.models import model_path

BAR = 1 / 1.6021765e6
"""eV/angstrom^3, as LAMMPS has it in ``units metal``."""
DUMP, TOTALS = "atoms.dump", "totals.json"


def evaluate_lammps(
    model: str | Path,
    atoms: ase.Atoms,
    mode: Mode | None = None,
    ranks: int = 1,
    kernels: Kernels = "auto",
    precision: Precision | None = None,
    before: Sequence[str] = (),
    device: str = "cpu",
    relative: bool = False,
) -> Prediction:
    """Evaluate a deployed model in LAMMPS; the result has a virial whatever the periodicity.

    Parameters
    ----------
    model
        Path or name of a deployed model.
    atoms
        Of any periodicity.
    mode
        ``"fold"``, ``"ghost"`` or ``"local"``, see ``docs/engines/lammps.md``; by default the
        plugin's choice.
    ranks
        MPI ranks; one runs in this process.
    kernels, precision, device, relative
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
    options = mode, ranks, kernels, precision, before, device, relative
    [found] = evaluate_each(model, [atoms], *options)
    if isinstance(found, LammpsError):
        raise found
    return found


def evaluate_each(
    model: str | Path,
    structures: Sequence[ase.Atoms],
    mode: Mode | None = None,
    ranks: int = 1,
    kernels: Kernels = "auto",
    precision: Precision | None = None,
    before: Sequence[str] = (),
    device: str = "cpu",
    relative: bool = False,
) -> list[Prediction | LammpsError]:
    """Evaluate several structures in one run of LAMMPS, and in another after each that it refuses.

    Parameters
    ----------
    structures
        Of any periodicity.
    model, mode, ranks, kernels, precision, before, device, relative
        As in :func:`evaluate_lammps`.

    Raises
    ------
    ModuleNotFoundError
        As :func:`evaluate_lammps`.
    """
    placed = [place(atoms) for atoms in structures]
    results: list[Prediction | LammpsError] = []
    with tempfile.TemporaryDirectory(prefix="idle_md-") as name:
        folders = [Path(name) / str(k) for k in range(len(placed))]
        scripts = []
        for structure, folder in zip(placed, folders, strict=True):
            folder.mkdir()
            data = folder / "structure.data"
            write_data(structure, data)
            style = set_up(
                structure,
                data,
                model_path(model).resolve(),
                mode,
                kernels,
                precision,
                device=device,
                relative=relative,
            )
            scripts.append([*style, *before, *_evaluation(folder)])
        while len(results) < len(placed):
            error = _run(scripts[len(results) :], Path(name), ranks)
            for k in range(len(results), len(placed)):
                if not (folders[k] / TOTALS).exists():
                    break
                periodic = bool(structures[k].pbc.all())
                results.append(_result(folders[k], placed[k].rotation, periodic))
            if error is not None:
                results.append(error)
    if any(isinstance(each, Prediction) for each in results):  # or the file may be no model
        remarks = Remarks(read_metadata(model))
        for index, atoms in enumerate(structures):
            remarks.note(index, atoms)
        remarks.warn()
    return results


def _run(scripts: Sequence[Sequence[str]], folder: Path, ranks: int) -> LammpsError | None:
    """Run scripts one after the other; return the error that ended them."""
    commands = [command for script in scripts for command in ("clear", *script)]
    try:
        if ranks == 1:
            run_here(commands, folder / "log.lammps")
        else:
            run_process(commands, folder, ranks)
    except LammpsError as error:
        return error
    return None


def _evaluation(folder: Path) -> list[str]:
    """Return the commands that evaluate once and write what comes out."""
    values = {"energy": "pe", "volume": "vol"} | {f"p{k}": f"c_pressure[{k}]" for k in range(1, 7)}
    written = ", ".join(f'"{name}": $({value}:%.17g)' for name, value in values.items())
    return [
        "compute energies all pe/atom pair",
        "compute pressure all pressure NULL virial",
        f'dump atoms all custom 1 "{folder / DUMP}" id fx fy fz c_energies',
        "dump_modify atoms sort id format float %.17g",
        "thermo_style custom step pe c_pressure[1]",
        "thermo_modify norm no",
        "run 0",
        "undump atoms",
        f"""print '{{{written}}}' file "{folder / TOTALS}" screen no""",
    ]


def _result(folder: Path, rotation: NDArray[np.float64], periodic: bool) -> Prediction:
    totals = json.loads((folder / TOTALS).read_text())
    table = read_dump(folder / DUMP)
    xx, yy, zz, xy, xz, yz = (totals[f"p{k}"] for k in range(1, 7))
    pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) * BAR
    pressure = rotation.T @ pressure @ rotation
    return Prediction(
        energy=totals["energy"],
        forces=table[:, 1:4] @ rotation,
        energies=table[:, 4],
        stress=-full_3x3_to_voigt_6_stress(pressure) if periodic else None,
        virial=pressure * totals["volume"],
    )
