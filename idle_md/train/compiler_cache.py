"""The folder where torch's compiler keeps what it has compiled, without what is half-written.

The compiler takes a file that is there for one that is whole, so a run that was killed while a
library was linked would make every later one fail.
"""

import logging
import time
from pathlib import Path

from torch._inductor.runtime.cache_dir_utils import cache_dir

LINKED_WITHIN = 20.0  # seconds; what is younger may still be written to by another process
MAGIC = b"\x7fELF"
HEADER = 64  # bytes

logger = logging.getLogger(__name__)


def remove_half_written() -> None:
    """Remove objects and libraries that end too early, waiting for those that are just written."""
    folder = Path(cache_dir())
    for file in [*folder.rglob("*.so"), *folder.rglob("*.o")]:
        while is_cut_off(file):
            if time.time() - file.stat().st_mtime > LINKED_WITHIN:
                logger.warning("removed %s: a compilation that was killed left it", file)
                file.unlink(missing_ok=True)
            else:
                time.sleep(1.0)


def is_cut_off(file: Path) -> bool:
    """Whether a compiled file is empty, or an ELF file without all of its section table.

    Where that table is says the header (System V ABI, chapter 4); it is the end of the file.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as content:
            header = content.read(HEADER)
    except FileNotFoundError:
        return False
    if not header.startswith(MAGIC[: len(header)]):
        return False
    table = int.from_bytes(header[40:48], "little")
    entry, entries = (int.from_bytes(header[at : at + 2], "little") for at in (58, 60))
    return size < max(HEADER, table + entry * entries)
