"""How much memory is free, and how much this process takes."""

import ctypes
import platform
from pathlib import Path

import torch

from backlight.errors import ConfigError

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_LARGE = 1 << 22  # bytes; of 1 << 20 each pass takes a fifth longer
_STATUS = Path("/proc/self/status")
_MEMORY = Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def free_memory(device: torch.device) -> int | None:
    """Find out how many bytes are free on a device.

    Args:
        device: The device.

    Returns:
        Of a GPU, what its driver calls free; otherwise what the system has available, or what a
        container has left, whichever is less. None where the system does not say.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if not _MEMORY.is_file():
        return None
    lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
    available = 1024 * int(lines["MemAvailable"].split()[0])
    if not (_LIMIT.is_file() and _USED.is_file()):
        return available
    limit = _LIMIT.read_text().strip()
    return available if limit == "max" else min(available, int(limit) - int(_USED.read_text()))


def anonymous_memory() -> int:
    """Find out how much memory this process takes that the system cannot take back.

    Pages of files, such as weights that are read where they lie, do not count: the system drops
    them when it needs memory.

    Returns:
        Bytes.

    Raises:
        ConfigError: If the system does not say.
    """
    if not _STATUS.is_file():
        raise ConfigError("--memory needs Linux, whose /proc says how much a process takes.")
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return 1024 * int(lines["RssAnon"].split()[0])


def peak_memory() -> int | None:
    """Find out how much memory this process took at most since it started.

    Returns:
        Bytes, with the pages of files that it looked at, such as weights; None where the system
        does not say.
    """
    if not _STATUS.is_file():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return 1024 * int(lines["VmHWM"].split()[0]) if "VmHWM" in lines else None


def give_large_memory_back() -> None:
    """Let this process give what it frees back to the system at once, if it was large.

    The allocator of glibc keeps freed memory of up to 32 MB in the hope that it is asked for again;
    small tensors in between then make it grow for ever. Elsewhere nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
