"""Stores that are larger than memory: written and read in pieces."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idle_md.configuration import parse_section
from idle_md.data.hdf5 import creating, datasets, missing_array, naming_damage, open_file, read_rows
from idle_md.data.joining import join
from idle_md.data.manifest import Manifest
from idle_md.data.store import Store

_WINDOW = 1024  # geometries read at once


class StoreWriter:
    """Writes a store piece by piece to one HDF5 file, which appears when the block ends well.

    A context manager. ``Store.read`` and ``StoreFile`` read the file; memory is needed for one
    piece at a time. Name, licence and levels of theory are those of the first piece.

    Parameters
    ----------
    path
        File to write.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        The block ends without a piece.
    """

    def __init__(self, path: str | Path) -> None:
        self._creating = creating(path)
        self._first: Store | None = None
        self._n_atoms = 0

    def __enter__(self) -> "StoreWriter":
        self._file = self._creating.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._creating.__exit__(kind, error, trace)

    def append(self, piece: Store) -> None:
        """Write the geometries of a store after those that are there.

        Raises
        ------
        OSError
            The file cannot be written.
        ValueError
            The piece has other fidelities, levels of theory or columns than the first one.
        """
        arrays = piece.arrays()
        if self._first is None:
            self._file.describe(piece.manifest.model_dump_json())
            self._first = piece.select([])
        else:
            _check_alike(self._first, piece)
            arrays["offsets"] = piece.offsets[1:] + self._n_atoms
        self._file.append(arrays)
        self._n_atoms += len(piece.numbers)


def _check_alike(first: Store, piece: Store) -> None:
    for what, wanted, found in (
        ("fidelities", _titles(first), _titles(piece)),
        ("columns", sorted(first.info), sorted(piece.info)),
    ):
        if wanted != found:
            raise ValueError(
                f"a piece has the {what} {', '.join(found) or 'none'}, the first one "
                f"{', '.join(wanted) or 'none'}: give all pieces the same; missing labels are NaN"
            )


def _titles(store: Store) -> list[str]:
    levels = store.manifest.levels
    return sorted(f"{name} ({level.title})" for name, level in levels.items())


class StoreFile:
    """A store in an HDF5 file, of which parts are read; a context manager.

    An open file cannot be handed to another process: let each open its own.

    Parameters
    ----------
    path
        File that ``Store.write`` or ``StoreWriter`` wrote.
    fidelities
        Levels whose labels are read; all there are when not given.

    Attributes
    ----------
    manifest
        Name, licence and levels of theory.
    offsets
        Geometry ``g`` owns the atoms ``offsets[g]:offsets[g + 1]``, shape (G + 1,).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is truncated, is no store, lacks an array or one of the fidelities.
    """

    def __init__(self, path: str | Path, fidelities: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._file, content = open_file(path)
        try:
            self.manifest = parse_section(content, Manifest, str(path))
            with naming_damage(path):
                self._datasets = datasets(self._file)
                if "offsets" not in self._datasets:
                    raise missing_array(path, "offsets")
                self.offsets: NDArray[np.int64] = read_rows(self._datasets.pop("offsets"))
            self._keep(fidelities)
        except BaseException:
            self._file.close()
            raise

    def _keep(self, fidelities: Sequence[str] | None) -> None:
        """Check that all arrays are there; forget those of other fidelities."""
        nothing = self.read([])
        wanted = nothing.fidelities if fidelities is None else fidelities
        unwanted = set(nothing.fidelities).difference(wanted)
        for name in wanted:
            nothing.labels_of(name)
        for name in unwanted:
            del self._datasets[f"labels/{name}/energy"], self._datasets[f"labels/{name}/forces"]
        self.manifest = self.manifest.covering(wanted)

    def __enter__(self) -> "StoreFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def n_geometries(self) -> int:
        """Number of geometries G."""
        return len(self.offsets) - 1

    def read(self, indices: slice | Sequence[int] | NDArray[Any]) -> Store:
        """The store of some geometries, in the order given.

        Geometries that are close together in the file are read together.

        Parameters
        ----------
        indices
            Indices, a mask over geometries, or a slice.

        Raises
        ------
        IndexError
            There is no such geometry.
        ValueError
            The file is damaged.
        """
        chosen = np.arange(self.n_geometries)[indices]
        present, position = np.unique(chosen, return_inverse=True)
        windows = np.split(present, np.flatnonzero(np.diff(present // _WINDOW)) + 1)
        spans = [(each[0], each[-1] + 1) if len(each) else (0, 0) for each in windows]
        lengths = [last - first for first, last in spans]
        skipped = [first for first, _ in spans] - np.cumsum(lengths) + lengths
        rows = present - np.repeat(skipped, [len(each) for each in windows])
        return join([self._span(*span) for span in spans]).select(rows[position])

    def _span(self, first: int, last: int) -> Store:
        """The geometries from ``first`` to before ``last``."""
        offsets = self.offsets[first : last + 1]
        geometries, atoms = slice(first, last), slice(offsets[0], offsets[-1])
        forces = {f"labels/{name}/forces" for name in self.manifest.levels}
        per_atom = {"numbers", "positions"} | forces
        with naming_damage(self.path):
            arrays = {
                name: read_rows(dataset, atoms if name in per_atom else geometries)
                for name, dataset in self._datasets.items()
            }
        arrays["offsets"] = offsets - offsets[0]
        return Store.from_arrays(arrays, self.manifest, self.path)
