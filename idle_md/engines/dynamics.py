"""Molecular dynamics with a deployed model, in the engine that the settings name."""

from pathlib import Path

import ase

from idle_md.deploy import DeployedModel
from idle_md.engines.md_settings import DEFAULTS, MDSettings
from idle_md.engines.results import MDResult, Progress


def run_md(
    model: DeployedModel | str | Path,
    atoms: ase.Atoms | str | Path,
    settings: MDSettings = DEFAULTS,
    *,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics of a structure.

    A run with a trajectory writes what repeats it beside that, see
    :func:`~idle_md.engines.run_file.write_run_file`. What is particular to an engine:
    :func:`~idle_md.engines.openmm.dynamics.run_openmm`,
    :func:`~idle_md.engines.lammps.dynamics.run_lammps`.

    >>> run_md("model.pt", "ethanol.xyz", MDSettings(ensemble="nve", trajectory="run.xyz"))

    Parameters
    ----------
    model
        A deployed model, or the path of one; LAMMPS, and a model within a force field, need the
        path.
    atoms
        Start, or the path of a file whose first structure it is; a model within a force field needs
        the path of a .pdb or .cif file. On a restart, the start of the first run.
    settings
        Ensemble, length, output and the like.
    progress
        Called after every interval.

    Raises
    ------
    ValueError
        If the model, the structure, the restart file and the settings do not fit each other, or the
        dynamics becomes unstable; OpenMM's :class:`~idle_md.engines.openmm.guard.UnstableError` and
        :class:`~idle_md.engines.openmm.spread.SpreadError`, and LAMMPS'
        :class:`~idle_md.engines.lammps.process.LammpsError`, are of this kind.
    FileExistsError
        If there is a trajectory of that name that is not appended to.
    FileNotFoundError
        If a file is not there.
    ModuleNotFoundError
        If the engine is not installed; names the remedy.
    """
    if settings.engine == "lammps":
        from idle_md.engines.lammps.dynamics import run_lammps

        return run_lammps(model, atoms, settings, progress)
    from idle_md.engines.openmm.dynamics import run_openmm

    return run_openmm(model, atoms, settings, progress)
