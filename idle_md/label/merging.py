"""From journals into the store."""

import hashlib
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idle_md.data import Labels, Manifest, Store, load
from idle_md.data.identity.copies import geometry_ids, turning
from idle_md.data.states import unpaired_of
from idle_md.fidelity import LevelOfTheory
from idle_md.label.journal import Record, locked, read_journals

CONVERGED, FAILED = "converged", "failed: "
LONGEST_STATUS = 120  # characters


@dataclass
class Report:
    """What a labelling did.

    Attributes
    ----------
    fidelity
        Under which name the labels are kept.
    labelled, failed
        Number of geometries, in this run and in runs before it that had not been merged.
    reasons
        How often a calculation failed for what reason, numbers taken out.
    examples
        A geometry of the store for each reason.
    cpu_seconds
        Spent on all of them.
    """

    fidelity: str
    labelled: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0


def journal_folder(path: Path, fidelity: str) -> Path:
    """Return where the labels of a store are until they are merged."""
    return path.with_name(f"{path.name}.journals") / fidelity


def store_lock(path: Path) -> Path:
    """Return the file that is locked while a store is replaced."""
    return path.with_name(f".{path.name}.lock")


def store_of(path: Path) -> Path:
    """The store (``.h5``) that holds the geometries of a file, made beside it where there is none.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file cannot be read, or the store beside it holds other geometries.
    """
    if path.name.endswith((".h5", ".hdf5")):
        return path
    store = load(path)
    made = path.with_name(re.sub(r"\.(ext)?xyz(\.gz)?$", "", path.name) + ".h5")
    if not made.exists():
        store.write(made)
        return made
    known = Store.read(made)
    keys = [[each.key(g) for g in range(each.n_geometries)] for each in (known, store)]
    if keys[0] != keys[1]:
        raise ValueError(
            f"{made}: holds other geometries than {path}: label it itself, or give {path.name} "
            "another name"
        )
    return made


def identity(store: Store, index: int, unpaired: int = 0) -> str:
    """Return what a geometry with so many unpaired electrons is called in journals."""
    spin = b"%d unpaired" % unpaired if unpaired else b""
    return hashlib.sha256(store.key(index) + spin).hexdigest()[:32]


def merge(path: Path, folder: Path, theory: LevelOfTheory, report: Report) -> None:
    """Bring what the journals of a folder hold into the store, and remove those that are finished.

    The store is replaced as a whole, and a journal goes after that, so a label is always in one of
    the two. Of a geometry that is labelled already, the store's label stays.

    Parameters
    ----------
    path
        Store.
    folder
        Its journals at one level.
    theory
        That level.
    report
        Is added to.
    """
    with locked(store_lock(path), "a merge", wait=True):
        records, finished = read_journals(folder)
        if records:
            merged(Store.read(path), records, theory, report).write(path)
        for journal in finished:
            journal.unlink()


def merged(
    store: Store, records: dict[str, Record], theory: LevelOfTheory, report: Report
) -> Store:
    """Return a store with the labels of some records."""
    name = report.fidelity
    nothing = Labels.empty(store.n_geometries, len(store.numbers))
    old = store.labels.get(name, nothing)
    energy, forces = old.energy.copy(), old.forces.copy()
    status = store.info.get(f"{name}_status", np.full(store.n_geometries, "")).tolist()
    program = store.info.get(f"{name}_program", np.full(store.n_geometries, "")).tolist()
    cpu_seconds = store.info.get(f"{name}_cpu_seconds", np.full(store.n_geometries, np.nan)).copy()
    for index, record in enumerate(_shared(store, records)):
        if record is None or np.isfinite(energy[index]):
            continue
        cpu_seconds[index] = record.cpu_seconds
        program[index] = record.program
        if record.energy is None:
            status[index] = (FAILED + record.reason)[:LONGEST_STATUS]
        else:
            status[index] = CONVERGED
            energy[index] = record.energy
            if record.forces is not None:
                forces[store.offsets[index] : store.offsets[index + 1]] = record.forces
        _count(report, record, index)
    return replace(
        store,
        labels={**store.labels, name: Labels(energy, forces, old.stress)},
        info={
            **store.info,
            f"{name}_status": np.array(status),
            f"{name}_program": np.array(program),
            f"{name}_cpu_seconds": cpu_seconds,
        },
        manifest=_manifest(store, name, theory, cpu_seconds[np.isfinite(energy)]),
    )


def _shared(store: Store, records: dict[str, Record]) -> list[Record | None]:
    """The record of every geometry, its own or that of a copy with the forces turned, (G,)."""
    spins = enumerate(unpaired_of(store).tolist())
    own = [records.get(identity(store, index, unpaired)) for index, unpaired in spins]
    ids, known = geometry_ids(store), dict[int, int]()
    for index, record in enumerate(own):
        if record is not None and record.energy is not None:
            known.setdefault(int(ids[index]), index)
    for index, record in enumerate(own):
        copied = known.get(int(ids[index]))
        if record is None and copied is not None:
            other = own[copied]
            assert other is not None
            forces = other.forces
            if forces is not None:
                forces = turning(store, index, copied)(forces)
            own[index] = replace(other, forces=forces)
    return own


def _manifest(
    store: Store, name: str, theory: LevelOfTheory, cpu_seconds: NDArray[np.float64]
) -> Manifest:
    known = store.manifest.levels.get(name, theory)
    if np.isfinite(cpu_seconds).any():
        mean = float(np.nanmean(cpu_seconds))
        known = known.model_copy(update={"cpu_seconds_per_label": mean})
    return store.manifest.model_copy(update={"levels": {**store.manifest.levels, name: known}})


def _count(report: Report, record: Record, index: int) -> None:
    report.cpu_seconds += record.cpu_seconds
    if record.energy is not None:
        report.labelled += 1
        return
    report.failed += 1
    reason = re.sub(r"-?\d+(\.\d+)?", "#", record.reason)
    report.reasons[reason] += 1
    report.examples.setdefault(reason, index)


def remove_folder(folder: Path) -> None:
    """Remove a folder of journals unless there is something in it."""
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()
