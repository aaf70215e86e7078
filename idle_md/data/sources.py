"""Data sets by name or path."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from idle_md.data.extxyz import read_extxyz, write_extxyz
from idle_md.data.manifest import read_manifest
from idle_md.data.store import Store

_XYZ = (".extxyz", ".extxyz.gz", ".xyz", ".xyz.gz")
_HDF5 = (".h5", ".hdf5")


def shipped() -> list[str]:
    """Names of the data sets that come with the package."""
    folder = files("idle_md.data")
    return sorted(entry.name[:-3] for entry in folder.iterdir() if entry.name.endswith(".h5"))


def load(source: str | Path, fidelities: Sequence[str] | None = None) -> Store:
    """Load a data set.

    Parameters
    ----------
    source
        Name of a set that comes with the package (``"chno-mini"``), an HDF5 store (``.h5``) or an
        extended XYZ file (``.extxyz``, ``.xyz``, either also with ``.gz``).
    fidelities
        Levels whose labels are wanted; all there are when not given.

    Raises
    ------
    FileNotFoundError
        There is no such set or file.
    ValueError
        The file is of another kind, damaged or wrong, or lacks one of the levels.
    """
    path = Path(source)
    if str(source) in shipped():
        path = Path(str(files("idle_md.data") / f"{source}.h5"))
    elif not path.is_file():
        raise FileNotFoundError(
            f"no data set {str(source)!r}: give a file, or one of the shipped sets "
            f"{', '.join(shipped())}"
        )
    if not _is_hdf5(path):
        return read_extxyz(path, fidelities)
    store = Store.read(path)
    if fidelities is None:
        return store
    return replace(store, labels={name: store.labels_of(name) for name in fidelities})


def save(store: Store, path: str | Path) -> None:
    """Write a store as HDF5 or extended XYZ, by the name's ending.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        The ending is none of those known.
    """
    if _is_hdf5(path):
        store.write(path)
    else:
        write_extxyz(store, path)


def convert(
    source: str | Path,
    target: str | Path,
    manifest: str | Path | None = None,
    fidelities: Sequence[str] | None = None,
) -> Store:
    """Load a data set and write it as another kind of file.

    Parameters
    ----------
    source
        What ``load`` takes.
    target
        What ``save`` takes.
    manifest
        YAML or JSON file with name, licence and levels of theory; those of the source when not
        given. Extended XYZ files hold no manifest.
    fidelities
        Levels to convert; all there are when not given.

    Returns
    -------
    Store
        What was written.

    Raises
    ------
    OSError
        A file cannot be read or written.
    ValueError
        The source or the manifest is wrong, or the manifest describes a level that is not there.
    """
    _is_hdf5(target)
    store = load(source, fidelities)
    if manifest is not None:
        described = read_manifest(manifest)
        strange = [name for name in described.levels if name not in store.labels]
        if strange and fidelities is None:
            raise ValueError(
                f"{manifest}: describes the level {strange[0]!r}, but {source} has "
                f"{', '.join(store.fidelities) or 'none'}"
            )
        store = replace(store, manifest=described)
    save(store, target)
    return store


def _is_hdf5(path: str | Path) -> bool:
    if str(path).endswith(_HDF5 + _XYZ):
        return str(path).endswith(_HDF5)
    raise ValueError(f"{path}: unknown kind of file; use {', '.join(_HDF5 + _XYZ)}")
