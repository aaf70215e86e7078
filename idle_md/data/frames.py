"""Frames of an extended XYZ file, checked one by one."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from idle_md.data.xyzline import Columns, parse_columns, parse_comment, real
from idle_md.elements import atomic_numbers

_WINDOWS = "idle_md.windows"
"""Bytes that are no UTF-8 are letters of Windows 1252, which has those of Latin 1."""
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
"""First bytes of compressed files."""
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError) or error.encoding != "utf-8":
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(_WINDOWS, _as_windows)


@dataclass
class Frame:
    """One frame of an extended XYZ file.

    Attributes
    ----------
    place
        File, frame, molecule and line, for messages.
    pairs
        Keys and values of the comment line, as text.
    numbers
        Atomic numbers, n of them.
    reals
        Columns of real numbers by name, each of shape (n, width).
    """

    place: str
    pairs: dict[str, str]
    numbers: list[int]
    reals: dict[str, NDArray[np.float64]]


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Frames of a file one after the other, decompressed where it is gzip, bzip2 or xz.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is truncated or a frame cannot be read; the message names file, frame and line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with _opened(path) as file:
            yield from _frames(path, file)
    except PermissionError:
        raise
    except (EOFError, OSError, lzma.LZMAError, zlib.error, UnicodeError) as error:
        raise ValueError(
            f"{path}: cannot be read to its end ({error}); it may be truncated: copy it again"
        ) from error


def _opened(path: str | Path) -> TextIO:
    with open(path, "rb") as raw:
        start = raw.read(8)
    opener: Any = next((each for magic, each in _OPENERS if start.startswith(magic)), open)
    file = opener(path, "rb")
    encoding = "utf-16" if file.peek(2).startswith(_UTF_16) else "utf-8-sig"
    return io.TextIOWrapper(file, encoding, _WINDOWS)


def _frames(path: str | Path, file: TextIO) -> Iterator[Frame]:
    frame, line = 0, 0
    for head in file:
        line += 1
        if not head.strip():
            continue
        frame += 1
        comment = file.readline()
        place = f"{path}, frame {frame} (line {line})"
        try:
            pairs = parse_comment(comment)
            if "molecule" in pairs:
                place = f"{path}, frame {frame} (molecule {pairs['molecule']}, line {line})"
            rows = list(islice(file, _count(head)))
            line += 1 + len(rows)
            yield Frame(place, pairs, *_atoms(rows, int(head), pairs))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error


def _count(head: str) -> int:
    if not re.fullmatch(r"\s*0*[1-9]\d{0,9}\s*", head, flags=re.ASCII):
        raise ValueError(
            f"expected a number of atoms, found {head.strip()[:40]!r}; does the frame before have "
            "more atom lines than it announces?"
        )
    return int(head)


def _atoms(
    rows: list[str], count: int, pairs: dict[str, str]
) -> tuple[list[int], dict[str, NDArray[np.float64]]]:
    columns = parse_columns(pairs.get("Properties", "species:S:1:pos:R:3"))
    if len(rows) < count:
        raise ValueError(f"{count} atoms announced, {len(rows)} lines left; is it truncated?")
    tokens = [row.split() for row in rows]
    for atom, row in enumerate(tokens, start=1):
        if len(row) != columns.width:
            raise ValueError(
                f"atom {atom} has {len(row)} columns where Properties describes {columns.width}; "
                "describe them in the comment line, such as "
                "Properties=species:S:1:pos:R:3:forces:R:3"
            )
    numbers = atomic_numbers(row[columns.start["species"]] for row in tokens)
    return numbers, _reals(tokens, columns)


def _reals(tokens: list[list[str]], columns: Columns) -> dict[str, NDArray[np.float64]]:
    reals = {}
    for name, (kind, width) in columns.kind.items():
        if kind == "R":
            mine = slice(columns.start[name], columns.start[name] + width)
            try:
                reals[name] = np.array([[real(token) for token in row[mine]] for row in tokens])
            except ValueError as error:
                raise ValueError(f"column {name}: {error}") from error
    broken = np.flatnonzero(~np.isfinite(reals["pos"]).all(axis=1))
    if len(broken):
        raise ValueError(f"the position of atom {broken[0] + 1} is no finite number; correct it")
    return reals
