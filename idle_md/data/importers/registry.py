"""One function for all formats, those of other packages among them."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from idle_md.configuration import unknown
from idle_md.data.importers.arrays import molecules
from idle_md.data.importers.contents import Contents
from idle_md.data.importers.conversion import converted
from idle_md.data.importers.readers.ani import read_ani
from idle_md.data.importers.readers.ase_db import read_ase
from idle_md.data.importers.readers.ase_io import read_ase_io
from idle_md.data.importers.readers.deepmd import is_deepmd, read_deepmd
from idle_md.data.importers.readers.energy_table import read_energy_table
from idle_md.data.importers.readers.npz import read_npz
from idle_md.data.importers.readers.openqdc import read_openqdc
from idle_md.data.importers.readers.spice import read_spice
from idle_md.data.importers.readers.xyz import read_xyz
from idle_md.data.importers.request import Request
from idle_md.data.importers.units import Units
from idle_md.data.store import Store

Reader = Callable[[Path, Request], Contents]
"""Reads a file, whatever units it is in: they are checked and converted afterwards."""
GROUP = "idle_md.importers"
"""Entry points of this group name a :data:`Reader`; their names are formats."""

_XYZ = "extxyz"
FORMATS: dict[str, Reader] = {
    _XYZ: read_xyz,
    "ani": read_ani,
    "spice": read_spice,
    "openqdc": read_openqdc,
    "npz": read_npz,
    "deepmd": read_deepmd,
    "ase": read_ase,
    "ase-io": read_ase_io,
    "csv": read_energy_table,
}
"""Readers of this package."""

_ENDINGS = {
    ".xyz": _XYZ,
    ".extxyz": _XYZ,
    ".npz": "npz",
    ".db": "ase",
    ".json": "ase",
    ".csv": "csv",
    ".traj": "ase-io",
}
_COMPRESSED = (".gz", ".bz2", ".xz")


def import_data(
    path: str | Path,
    format: str = "auto",
    *,
    fidelity: str | None = None,
    energy: Mapping[str, str] | None = None,
    forces: Mapping[str, str] | None = None,
    stress: Mapping[str, str] | None = None,
    virial: Mapping[str, str] | None = None,
    geometries: str | Path | None = None,
    level_key: str | None = None,
    energy_unit: str | None = None,
    length_unit: str | None = None,
    force_unit: str | None = None,
    stress_unit: str | None = None,
    gradients: bool = False,
    flip_stress: bool = False,
    trust_units: bool = False,
) -> Store:
    """Import a published data set, its units converted and checked.

    Total energies are compared with those of isolated atoms, shortest distances with covalent
    bonds, net forces with zero, and energy differences of close geometries with the work of the
    forces, or of strained boxes with that of the stress.

    Parameters
    ----------
    path
        File, or folder of openQDC.
    format
        ``extxyz``, ``ani``, ``spice``, ``openqdc``, ``npz`` (MD17, rMD17, sGDML, PhysNet),
        ``deepmd``, ``ase`` (databases), ``ase-io`` (other files that ASE reads), ``csv``, or what
        another package brings; told by the name and the content where ``auto``.
    fidelity
        Name of the level, for a file that holds one and does not name it.
    energy, forces, stress, virial
        Fidelity of every key that holds energies, forces, stresses or virials, for files with
        several; a virial is minus the stress times the volume.
    geometries
        Store or XYZ file that a CSV table adds its energies to.
    level_key
        Key of extended XYZ whose value names the level of each frame (``head``); ``none`` where
        a key of such a name is no level.
    energy_unit
        ``eV``, ``hartree``, ``kcal/mol``, ``kJ/mol`` or ``meV``; needed where the file does not
        say it and the energies are no total energies.
    length_unit
        ``angstrom``, ``bohr`` or ``nm``.
    force_unit
        Such as ``hartree/bohr``; the quotient of the others where not given.
    stress_unit
        ``eV/angstrom^3`` or the like, ``GPa``, ``MPa``, ``kbar`` or ``bar``; the quotient of the
        others where not given. Virials are in the unit of the energies.
    gradients
        Whether the forces are gradients, of the other sign.
    flip_stress
        Whether stresses are positive under compression, as VASP prints them, or virials are
        negative there.
    trust_units
        Whether to take units as they are given or stated, without checks.

    Returns
    -------
    Store
        Energies in eV, positions in angstrom, forces in eV/angstrom; groups are molecules or
        formulae.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, lacks a key or has a wrong shape, or a unit is unknown, not clear or
        contradicted; the message names file, place and remedy.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    name = _format(path) if format == "auto" else format
    read = _reader(name)
    if geometries is not None and name != "csv":
        raise ValueError(f"{path}: has geometries of its own; leave --geometries to CSV tables")
    if level_key is not None and name != _XYZ:
        raise ValueError(f"{path}: has no frames that name a level; leave --level-key to XYZ files")
    base = None if geometries is None else Path(geometries)
    request = Request(
        fidelity, energy or {}, forces or {}, stress or {}, virial or {}, base, level_key
    )
    units = Units(
        energy_unit, length_unit, force_unit, stress_unit, gradients, flip_stress, trust_units
    )
    return converted(path, read(path, request), units)


def _reader(name: str) -> Reader:
    if name in FORMATS:
        return FORMATS[name]
    added = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name in added:
        read: Reader = added[name].load()
        return read
    raise ValueError(unknown("format", name, ["auto", *FORMATS, *added]))


def _format(path: Path) -> str:
    if path.is_dir():
        return "deepmd" if is_deepmd(path) else "openqdc"
    if path.suffix in (".h5", ".hdf5"):
        with molecules(path) as groups:
            return "spice" if "conformations" in next(iter(groups.values())) else "ani"
    for ending, name in _ENDINGS.items():
        if path.name.endswith((ending, *(ending + each for each in _COMPRESSED if name == _XYZ))):
            return name
    raise ValueError(
        f"{path}: unknown kind of file; say which with --format, one of {', '.join(FORMATS)}; "
        "ase-io is whatever ASE reads, outputs of ORCA, FHI-aims, VASP and others among it"
    )
