"""Processes of the watch's own, of whose end the program is not told."""

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def unheard() -> Generator[bool, None, None]:
    """Keep the program's handler of SIGCHLD from being called for processes that begin here.

    It may count its workers, or raise an error since one has died.

    Yields:
        Whether it is not called; false in a thread, which cannot change handlers.
    """
    handler = None if sys.platform == "win32" else signal.getsignal(signal.SIGCHLD)
    if not callable(handler):
        yield True
        return
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    before = _has_ended()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield True
    finally:
        signal.signal(signal.SIGCHLD, handler)
        if not before and _has_ended():  # one of the program's own, meanwhile
            signal.raise_signal(signal.SIGCHLD)


def _has_ended() -> bool:
    """Check whether a process of the program has ended and was not waited for."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # there is none
        return False
