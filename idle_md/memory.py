"""Memory settings of a process that evaluates or trains a model step after step."""

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
MEBIBYTE = 1 << 20


def keep_freed_memory() -> None:
    """Let the process keep what a model frees after every evaluation, for the next one.

    The GNU C library returns large blocks to the system and fetches them again, page by page; from
    a few dozen atoms on that takes longer than the model itself (90 atoms: 10.9 ms, without it
    4.0 ms), and a quarter of the time of a training step. Holds for the whole process; does nothing
    with other C libraries.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 256 * MEBIBYTE)
        mallopt(M_TRIM_THRESHOLD, 1024 * MEBIBYTE)
        mallopt(M_TOP_PAD, 64 * MEBIBYTE)
