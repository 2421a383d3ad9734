"""Memory that a forked process shares with others, made its own."""

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

from backlight.errors import RunError

_MOST = 2**30
"""Bytes that are copied; more may be a file of data that is larger than the memory."""

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)")

_READ_AND_WRITE, _PRIVATE_FIXED_ANONYMOUS = 0x3, 0x32


def unshare_memory() -> None:
    """Put a copy in the place of all memory that this process could write to and others see.

    What shares memory stays shared after a fork: tensors behind ``share_memory_()``, values of
    ``multiprocessing``, files that are mapped into memory. This is for the forked process alone.

    Raises:
        RunError: If it is too much, or the system refuses.
    """
    found = list(_shared())
    if sum(end - start for start, end in found) > _MOST:
        raise RunError("it shares more than a gigabyte of memory with other processes")
    system = ctypes.CDLL(None)
    system.mmap.restype = ctypes.c_void_p
    words = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    system.mmap.argtypes = words
    for start, end in found:
        content = ctypes.string_at(start, end - start)
        place = system.mmap(start, end - start, _READ_AND_WRITE, _PRIVATE_FIXED_ANONYMOUS, -1, 0)
        if place != start:
            raise RunError("it shares memory with other processes that cannot be set apart")
        ctypes.memmove(start, content, len(content))


def _shared() -> Iterator[tuple[int, int]]:
    """Find the pieces of memory that are writable and shared; those of devices are left out."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.match(line)
        if match is not None and match[3].startswith("rw") and match[3].endswith("s"):
            path = match[4]
            if path.startswith(("/dev/shm/", "/dev/zero")) or not path.startswith(("/dev", "anon")):
                yield int(match[1], 16), int(match[2], 16)
