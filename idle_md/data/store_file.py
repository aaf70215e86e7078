"""Large stores, written in pieces."""

from pathlib import Path
from types import TracebackType

from idle_md.data.hdf5 import creating
from idle_md.data.store import Store


class StoreWriter:
    """Writes a store piece by piece to one HDF5 file, which appears when the block ends well.

    A context manager. ``Store.read`` reads the file; writing needs memory for one piece at a time.
    Name, licence and levels of theory are those of the first piece.

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
