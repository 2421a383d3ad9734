"""Work that is done in a process of its own, so that nothing it does is left in this one."""

import ctypes
import gc
import json
import os
import re
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch

from backlight.errors import RunError
from backlight.training.guarding.guard import attempt, in_words, message_of
from backlight.training.guarding.unheard import unheard

_END = b"\n"
"""Behind the answer: another process that was forked meanwhile may hold the other end open."""

_SECONDS = 60.0
"""How long the work may take; a process that was forked can be stuck in somebody else's lock."""

_MOST_SHARED = 2**30
"""Bytes that are copied; more may be a file of data that is larger than the memory."""

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)")

_READ_AND_WRITE, _PRIVATE_FIXED_ANONYMOUS = 0x3, 0x32


def do_apart(work: Callable[[], Mapping[str, Any]], *, seconds: float = _SECONDS) -> dict[str, Any]:
    """Do something in a forked process, which has everything as it is here, and give its answer.

    Whatever the work changes (random generators, counters, weights, its inputs) is changed there.
    Files and connections that are open here are closed there, and shared memory is copied, so that
    nothing gets out but the answer. The program is not told of that process and its end.

    Args:
        work: What is done; it gives what JSON can hold.
        seconds: How long it may take.

    Returns:
        What the work gave.

    Raises:
        RunError: If there is no such process on this system, or it failed, died or took too
            long; the message is the reason.
    """
    if not sys.platform.startswith("linux"):
        raise RunError("that is done in a forked process, which this system does not have")
    with unheard() as sure:
        if not sure:
            raise RunError("this is a thread, and the program handles SIGCHLD in another one")
        answer = _answer(work, seconds)
    if not answer:
        raise RunError("the process in which that was tried has died")
    found = cast("dict[str, Any]", json.loads(answer))
    if "failure" in found:
        raise RunError(found["failure"])
    return found


def _answer(work: Callable[[], Mapping[str, Any]], seconds: float) -> bytes:
    """Fork a child that does the work, and read what it answers."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's warning that other threads may hold locks
        child = os.fork()
    if child == 0:
        _be_apart(work, writer)
    os.close(writer)
    try:
        return _read(reader, seconds)
    finally:
        os.close(reader)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):  # somebody else has waited for all children
            os.waitpid(child, 0)


def _be_apart(work: Callable[[], Mapping[str, Any]], writer: int) -> None:
    """Do the work and end this process; nothing that is still to be written here is written."""
    try:
        gc.disable()  # objects that are given up must not close or stop what is not theirs
        writer = _alone_with(writer)
        torch.set_num_threads(1)  # the other threads are not there
        found: list[Mapping[str, Any]] = []
        error = attempt(_unshare_memory) or attempt(lambda: found.append(work()))
        answer = found[0] if error is None else {"failure": f"it failed ({in_words(error)})"}
        if isinstance(error, RunError):
            answer = {"failure": message_of(error)}
        content = json.dumps(answer).encode() + _END
        while content:
            content = content[os.write(writer, content) :]
    finally:
        os._exit(0)


def _alone_with(writer: int) -> int:
    """Close all files but one, and give its number, which is behind those of the terminal."""
    import fcntl  # not on every system

    writer = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 3)
    nothing = os.open(os.devnull, os.O_RDWR)
    for terminal in (0, 1, 2):
        os.dup2(nothing, terminal)
    sys.stdout = sys.stderr = os.fdopen(1, "w")  # what they were may be a file or a connection
    os.closerange(3, writer)
    os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
    return writer


def _read(reader: int, seconds: float) -> bytes:
    """Read the answer; nothing, if the other end was closed before it was whole."""
    content = b""
    end = time.monotonic() + seconds
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while not content.endswith(_END):
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise RunError(f"it was not done within {seconds:g} seconds")
        piece = os.read(reader, 65536)
        if not piece:
            return b""
        content += piece
    return content


def _unshare_memory() -> None:
    """Put a copy in the place of all memory that this process could write to and others see.

    What shares memory stays shared after a fork: tensors behind ``share_memory_()``, values of
    ``multiprocessing``, files that are mapped into memory. This is for the forked process alone.

    Raises:
        RunError: If it is too much, or the system refuses.
    """
    found = list(_shared())
    if sum(end - start for start, end in found) > _MOST_SHARED:
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
