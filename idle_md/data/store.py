"""Multi-fidelity store: many geometries, each labelled at some levels of theory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idle_md.configuration import parse_section
from idle_md.data.hdf5 import Arrays, missing_array, read_arrays, write_arrays
from idle_md.data.manifest import Manifest
from idle_md.elements import symbols

KINDS = ("energy", "forces", "stress")
"""Kinds of labels."""
_FLAT = {
    "numbers": np.int64,
    "positions": np.float64,
    "offsets": np.int64,
    "cell": np.float64,
    "pbc": np.bool_,
    "charge": np.int64,
    "group": np.str_,
    "role": np.str_,
}


@dataclass
class Labels:
    """Labels of one fidelity.

    Attributes
    ----------
    energy
        Total energies in eV, shape (G,); NaN where not labelled.
    forces
        Forces in eV/angstrom, shape (A, 3); NaN in all rows of geometries that are not labelled.
    stress
        Stresses in eV/angstrom^3, shape (G, 6), in ASE's order (xx, yy, zz, yz, xz, xy) and sign,
        which is that of the energy's derivative by strain: stress = -virial / volume. NaN where not
        labelled; none at all by default.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float32]
    stress: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 6)))

    def __post_init__(self) -> None:
        if len(self.stress) == 0:
            self.stress = np.full((len(self.energy), 6), np.nan)

    @classmethod
    def empty(cls, n_geometries: int, n_atoms: int) -> "Labels":
        """Labels that are all missing, of geometries with ``n_atoms`` atoms in total."""
        forces = np.full((n_atoms, 3), np.nan, np.float32)
        return cls(np.full(n_geometries, np.nan), forces)


@dataclass
class Store:
    """G geometries of A atoms in total, in flat arrays.

    Attributes
    ----------
    numbers
        Atomic numbers, shape (A,).
    positions
        Cartesian coordinates in angstrom, shape (A, 3).
    offsets
        Geometry ``g`` owns the atoms ``offsets[g]:offsets[g + 1]``, shape (G + 1,).
    cell
        Lattice vectors as rows in angstrom, shape (G, 3, 3); zero where there are none.
    pbc
        Periodicity along each lattice vector, shape (G, 3).
    charge
        Total charges in elementary charges, shape (G,).
    group
        Name of the molecule, shape (G,).
    role
        ``train``, ``validation``, ``test``, ``ood`` or nothing, shape (G,).
    labels
        Labels by fidelity.
    info
        Further columns, each of shape (G,); an empty string or NaN where a value is missing.
    manifest
        Name, licence and levels of theory.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    offsets: NDArray[np.int64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    charge: NDArray[np.int64]
    group: NDArray[np.str_]
    role: NDArray[np.str_]
    labels: dict[str, Labels]
    info: dict[str, NDArray[Any]] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)

    def __post_init__(self) -> None:
        _check_shapes(self)
        for name in self.labels:
            _check_whole(self, name)
            _check_stress(self, name)
        self.manifest = self.manifest.covering(self.labels)

    @property
    def n_geometries(self) -> int:
        """Number of geometries G."""
        return len(self.offsets) - 1

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Number of atoms of every geometry, shape (G,)."""
        return np.diff(self.offsets)

    @property
    def fidelities(self) -> list[str]:
        """Names of the fidelities."""
        return list(self.labels)

    @property
    def elements(self) -> list[int]:
        """Atomic numbers that occur, ascending."""
        return np.flatnonzero(np.bincount(self.numbers)).tolist()

    def labels_of(self, fidelity: str) -> Labels:
        """Labels of one fidelity.

        Raises
        ------
        ValueError
            There is no such fidelity; the message lists those there are.
        """
        if fidelity not in self.labels:
            where = f"data set {self.manifest.name!r}" if self.manifest.name else "the data set"
            raise ValueError(
                f"unknown fidelity {fidelity!r}: {where} has {', '.join(self.labels) or 'none'}"
            )
        return self.labels[fidelity]

    def has_energy(self, fidelity: str) -> NDArray[np.bool_]:
        """Which geometries have an energy at a fidelity, shape (G,)."""
        return np.isfinite(self.labels_of(fidelity).energy)

    def has_forces(self, fidelity: str) -> NDArray[np.bool_]:
        """Which geometries have forces at a fidelity, shape (G,)."""
        first: NDArray[np.float32] = self.labels_of(fidelity).forces[self.offsets[:-1], 0]
        return np.isfinite(first)

    def has_stress(self, fidelity: str) -> NDArray[np.bool_]:
        """Which geometries have a stress at a fidelity, shape (G,)."""
        return np.isfinite(self.labels_of(fidelity).stress[:, 0])

    def has(self, fidelity: str, kind: str) -> NDArray[np.bool_]:
        """Which geometries have a kind of label at a fidelity, shape (G,)."""
        mask: NDArray[np.bool_] = getattr(self, f"has_{kind}")(fidelity)
        return mask

    def has_label(self, fidelity: str) -> NDArray[np.bool_]:
        """Which geometries have a label of any kind at a fidelity, shape (G,)."""
        return self.has_energy(fidelity) | self.has_forces(fidelity) | self.has_stress(fidelity)

    @property
    def volume(self) -> NDArray[np.float64]:
        """Volumes of the boxes in angstrom^3, shape (G,).

        Infinite where a geometry is not periodic in all three directions: it has no stress.
        """
        volume = np.abs(np.linalg.det(self.cell))
        return np.where(self.pbc.all(axis=1) & (volume > 0), volume, np.inf)

    def element_counts(self, elements: Sequence[int]) -> NDArray[np.float64]:
        """Number of atoms of each element in every geometry, shape (G, len(elements)).

        Raises
        ------
        ValueError
            An atom is of none of the elements.
        """
        unknown = symbols(sorted(set(self.elements) - set(elements)))
        if unknown:
            raise ValueError(
                f"unknown elements {', '.join(unknown)}: only {', '.join(symbols(elements))} "
                "are known here"
            )
        counts = np.empty((self.n_geometries, len(elements)))
        for column, number in enumerate(elements):
            counts[:, column] = _sums(self.numbers == number, self.offsets)
        return counts

    def atoms(self, index: int) -> Atoms:
        """One geometry as an ASE object, without labels."""
        mine = slice(self.offsets[index], self.offsets[index + 1])
        return Atoms(
            numbers=self.numbers[mine],
            positions=self.positions[mine],
            cell=self.cell[index],
            pbc=self.pbc[index],
            info={"charge": int(self.charge[index])},
        )

    def key(self, index: int) -> bytes:
        """What makes one geometry the same as another: atoms, positions, box and charge."""
        mine = slice(self.offsets[index], self.offsets[index + 1])
        parts = (self.numbers[mine], self.positions[mine])
        whole = (self.cell[index], self.pbc[index], self.charge[index])
        return b"".join(array.tobytes() for array in (*parts, *whole))

    def select(self, indices: ArrayLike) -> "Store":
        """The store of some geometries, in the order given; indices or a mask over geometries."""
        wanted = np.asarray(indices)
        chosen = np.arange(self.n_geometries)[wanted if wanted.size else wanted.astype(np.int64)]
        counts = self.n_atoms[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        rows = np.repeat(self.offsets[chosen] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Store(
            numbers=self.numbers[rows],
            positions=self.positions[rows],
            offsets=offsets,
            cell=self.cell[chosen],
            pbc=self.pbc[chosen],
            charge=self.charge[chosen],
            group=self.group[chosen],
            role=self.role[chosen],
            labels={
                name: Labels(labels.energy[chosen], labels.forces[rows], labels.stress[chosen])
                for name, labels in self.labels.items()
            },
            info={key: column[chosen] for key, column in self.info.items()},
            manifest=self.manifest,
        )

    def write(self, path: str | Path) -> None:
        """Write the store to an HDF5 file, whole or not at all.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        manifest = self.manifest.covering(self.labels)
        write_arrays(path, self.arrays(), manifest.model_dump_json())

    @classmethod
    def read(cls, path: str | Path) -> "Store":
        """Read a store from an HDF5 file.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is truncated, is no store, lacks an array or holds arrays that do not fit.
        """
        arrays, content = read_arrays(path)
        return cls.from_arrays(arrays, parse_section(content, Manifest, str(path)), path)

    def arrays(self) -> Arrays:
        """The arrays of an HDF5 file by their path inside it."""
        arrays: Arrays = {name: getattr(self, name) for name in _FLAT}
        arrays["numbers"] = self.numbers.astype(np.uint8)
        for name, labels in self.labels.items():
            arrays[f"labels/{name}/energy"] = labels.energy
            arrays[f"labels/{name}/forces"] = labels.forces
            arrays[f"labels/{name}/stress"] = labels.stress
        return arrays | {f"info/{key}": column for key, column in self.info.items()}

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: Manifest, path: str | Path) -> "Store":
        """Make a store of the arrays of the HDF5 file ``path``, with the manifest's fidelities.

        Raises
        ------
        ValueError
            An array is missing, or the arrays do not fit.
        """
        try:
            flat = {name: _typed(arrays, name, dtype) for name, dtype in _FLAT.items()}
            symbols(np.unique(flat["numbers"]))
            labels = {
                name: Labels(
                    _typed(arrays, f"labels/{name}/energy", np.float64),
                    _typed(arrays, f"labels/{name}/forces", np.float32),
                    _typed(arrays, f"labels/{name}/stress", np.float64)
                    if f"labels/{name}/stress" in arrays
                    else np.empty((0, 6)),
                )
                for name in manifest.levels
            }
            info = {
                name.removeprefix("info/"): array
                for name, array in arrays.items()
                if name.startswith("info/")
            }
            return cls(**flat, labels=labels, info=info, manifest=manifest)
        except KeyError as error:
            raise missing_array(path, error.args[0]) from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _typed(arrays: Arrays, name: str, dtype: Any) -> NDArray[Any]:
    """An array of a file in its type here, which holds no other numbers than the file."""
    array = arrays[name]
    if array.ndim == 0:
        raise ValueError(f"{name} is a single value, not an array")
    if array.dtype.kind not in {"i": "iu"}.get(np.dtype(dtype).kind, np.dtype(dtype).kind):
        raise ValueError(f"{name} holds {array.dtype} values, not {np.dtype(dtype)}")
    if name in ("positions", "cell") and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; leave such geometries out")
    return array.astype(dtype, copy=False)


def _check_shapes(store: Store) -> None:
    n_geometries, n_atoms = store.n_geometries, len(store.numbers)
    if store.offsets.ndim != 1 or len(store.offsets) == 0:
        raise ValueError(f"offsets has shape {store.offsets.shape}, it must be (geometries + 1,)")
    if store.offsets[0] != 0 or store.offsets[-1] != n_atoms or (store.n_atoms < 1).any():
        raise ValueError(
            f"offsets must rise from 0 to the number of atoms, {n_atoms}, and no geometry may be "
            "empty"
        )
    expected = {
        "positions": (n_atoms, 3),
        "cell": (n_geometries, 3, 3),
        "pbc": (n_geometries, 3),
        "charge": (n_geometries,),
        "group": (n_geometries,),
        "role": (n_geometries,),
    }
    shapes = {name: (getattr(store, name).shape, shape) for name, shape in expected.items()}
    for name, labels in store.labels.items():
        shapes[f"{name} energy"] = (labels.energy.shape, (n_geometries,))
        shapes[f"{name} forces"] = (labels.forces.shape, (n_atoms, 3))
        shapes[f"{name} stress"] = (labels.stress.shape, (n_geometries, 6))
    for key, column in store.info.items():
        shapes[f"info {key}"] = (column.shape, (n_geometries,))
    for name, (found, wanted) in shapes.items():
        if found != wanted:
            raise ValueError(
                f"{name} has shape {found}, but {n_geometries} geometries of {n_atoms} atoms in "
                f"total need {wanted}"
            )


def _check_whole(store: Store, fidelity: str) -> None:
    finite = np.isfinite(store.labels[fidelity].forces).sum(axis=1, dtype=np.uint8)
    totals = _sums(finite, store.offsets)
    partial = np.flatnonzero((totals > 0) & (totals < 3 * store.n_atoms))
    if len(partial):
        raise ValueError(
            f"{fidelity} forces of geometry {partial[0]} are NaN for some atoms only: give all of "
            "a geometry's forces or none"
        )


def _check_stress(store: Store, fidelity: str) -> None:
    finite = np.isfinite(store.labels[fidelity].stress)
    some = finite.any(axis=1)
    partial = np.flatnonzero(some & ~finite.all(axis=1))
    if len(partial):
        raise ValueError(
            f"{fidelity} stress of geometry {partial[0]} is no finite number in some components: "
            "give all six or none"
        )
    if some.any():
        boxless = np.flatnonzero(some & np.isinf(store.volume))
        if len(boxless):
            raise ValueError(
                f"{fidelity} stress of geometry {boxless[0]}, which is not periodic in all three "
                "directions and has no volume: leave such stresses out"
            )


def _sums(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of small integers or flags (A,) over the atoms of every geometry, (G,)."""
    sums: NDArray[np.int64] = np.add.reduceat(values, offsets[:-1], dtype=np.int64)
    return sums
