"""One process writes a run at a time."""

import os
from pathlib import Path
from weakref import WeakValueDictionary

from backlight.errors import RunDirectoryError, quoted

try:
    import fcntl
except ImportError:  # Windows has no such locks; there, two processes are not noticed
    fcntl = None


class Lock:
    """Holds a directory until it is let go, or this process ends in whatever way."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)


# A notebook that was interrupted may still hold the run that it now goes on with. ``flock`` belongs
# to an open file, not to a process, so it would refuse this process too: the lock that is there is
# handed out again. The dictionary is weak, since only who holds a lock keeps it.
_held: WeakValueDictionary[tuple[int, int], Lock] = WeakValueDictionary()


def lock(path: Path) -> Lock | None:
    """Hold a directory against other processes.

    Nothing is written for it, and a process that is killed leaves nothing behind.

    Args:
        path: The directory.

    Returns:
        What holds it, as long as somebody keeps it; None where the file system has no locks.

    Raises:
        RunDirectoryError: If another process holds it.
    """
    if fcntl is None:
        return None
    # The directory itself is locked, not a file in it: the system lets go of the locks of a process
    # that dies, so nothing is left behind; and another path to the directory meets the same lock.
    descriptor = os.open(path, os.O_RDONLY)
    status = os.fstat(descriptor)
    key = (status.st_dev, status.st_ino)
    if key in _held:
        os.close(descriptor)
        return _held[key]
    held = Lock(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunDirectoryError(
            f"Another process is writing the run in {quoted(path)}; wait until it is done, or "
            "name another --output_dir."
        ) from error
    except OSError:  # some network file systems have no locks
        return None
    _held[key] = held
    return held
