"""Journals: labels as they come, which survive the death of whoever writes them.

A journal is a file to which one process appends. A record is its length and checksum (little-endian
uint32 each) before a JSON header, a zero byte and the forces as float64. A process that dies in the
middle of a record leaves a torn end, which is recognised and ignored; the next process writes
another file. While it is written a journal is locked, so nobody takes a living one away.
"""

import fcntl
import json
import os
import struct
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

FRAME = struct.Struct("<II")
ENDING = ".journal"
SYNC_SECONDS = 0.5


@dataclass(frozen=True)
class Record:
    """One calculation.

    Attributes
    ----------
    geometry
        Identity of the geometry, see :func:`idle_md.label.labelling.identity`.
    energy
        In eV; None if it failed.
    forces
        In eV/angstrom, shape (N, 3), where the level has them.
    reason
        Why it failed, or an empty string.
    cpu_seconds
        What it cost.
    program
        Program and version.
    """

    geometry: str
    energy: float | None
    forces: NDArray[np.float64] | None
    reason: str
    cpu_seconds: float
    program: str

    def encode(self) -> bytes:
        """Return the record with length and checksum."""
        header = {key: value for key, value in asdict(self).items() if key != "forces"}
        forces = b"" if self.forces is None else np.asarray(self.forces, "<f8").tobytes()
        payload = json.dumps(header).encode() + b"\0" + forces
        return FRAME.pack(len(payload), zlib.crc32(payload)) + payload


class Journal:
    """A journal of this process; :meth:`append` writes at once, :meth:`sync` reaches the disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{uuid.uuid4().hex}{ENDING}"
        unlocked = self.path.with_suffix(".new")  # nobody may take it away before it is locked
        self._file = unlocked.open("ab", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        unlocked.rename(self.path)
        self._synced = time.monotonic()

    def append(self, record: Record) -> None:
        """Write a record; what is older than half a second is brought to the disk."""
        self._file.write(record.encode())
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Bring everything to the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Bring everything to the disk and let go of the file."""
        self.sync()
        self._file.close()


def read_journals(folder: Path) -> tuple[dict[str, Record], list[Path]]:
    """Return what the journals of a folder hold, and the files that nobody writes any more.

    Of several records of one geometry a label counts, and the first of those.
    """
    records: dict[str, Record] = {}
    finished = []
    for path in sorted(folder.glob(f"*{ENDING}")):
        if not _is_written(path):
            finished.append(path)
        for record in read_journal(path):
            known = records.get(record.geometry)
            if known is None or (known.energy is None and record.energy is not None):
                records[record.geometry] = record
    return records, finished


def read_journal(path: Path) -> Iterator[Record]:
    """Yield the whole records of a journal, in order."""
    data = path.read_bytes()
    start = 0
    while start + FRAME.size <= len(data):
        length, checksum = FRAME.unpack_from(data, start)
        payload = data[start + FRAME.size : start + FRAME.size + length]
        if not 0 < length == len(payload) or zlib.crc32(payload) != checksum:
            return
        yield _decoded(payload)
        start += FRAME.size + length


@contextmanager
def locked(path: Path, holder: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock file, or wait for it; it is there as long as it is held.

    Raises
    ------
    BlockingIOError
        If another process holds it and one should not wait; the message says who.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path, wait) as file:
        file.truncate(0)
        file.write(f"{holder}, process {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink()


def _lock(path: Path, wait: bool) -> IO[str]:
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                file.seek(0)
                who = file.read() or "another process"
            raise BlockingIOError(
                f"{path.parent}: in use by {who}; wait for it, or stop it: nothing it finished is "
                "lost"
            ) from error
        with suppress(FileNotFoundError):  # who held it before may have removed it meanwhile
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        file.close()


def _is_written(path: Path) -> bool:
    with path.open("rb") as file:
        return not _try_lock(file)


def _try_lock(file: IO[Any]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _decoded(payload: bytes) -> Record:
    header, _, data = payload.partition(b"\0")
    forces = np.frombuffer(data, "<f8").reshape(-1, 3) if data else None
    return Record(**json.loads(header), forces=forces)
