"""The one place that lets no failure of the watch out into somebody else's training, but warns."""

import signal
import sys
import warnings
from collections.abc import Callable
from traceback import walk_tb

from backlight.errors import beginning

_MOST = 200
"""How many characters of a foreign message are quoted."""


def attempt(work: Callable[[], object]) -> Exception | None:
    """Do something of the watch's own; give the failure back instead of raising it.

    The training belongs to the user, and nothing that the watch does is worth ending it. So this
    is the one place of the project that catches whatever there may be: other people's sinks and
    functions, tensors of any kind, disks, terminals, memory. What the user does to the process
    passes: ``KeyboardInterrupt``, ``SystemExit``, and whatever a signal handler raises, such as an
    alarm that limits the time of a step and rings by chance while the watch is at work.

    Args:
        work: What is done.

    Returns:
        What it failed with; None if it did not.
    """
    try:
        work()
    except Exception as error:
        if _is_from_a_signal(error):
            raise
        return error
    return None


def _is_from_a_signal(error: Exception) -> bool:
    """Check whether an error was raised in one of the program's handlers of signals."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    methods = [getattr(handler, "__func__", handler) for handler in handlers]
    codes = {getattr(method, "__code__", None) for method in methods} - {None}
    return any(frame.f_code in codes for frame, _ in walk_tb(error.__traceback__))


class WatchWarning(UserWarning):
    """Something of the watch failed; the training goes on."""


def warn_once(text: str) -> None:
    """Warn, without ever failing: where warnings are errors, the words go to stderr as they are.

    Args:
        text: One plain sentence.
    """
    if attempt(lambda: warnings.warn(text, WatchWarning, stacklevel=6)) is not None:
        attempt(lambda: sys.stderr.write(f"{WatchWarning.__name__}: {text}\n"))


def message_of(error: Exception) -> str:
    """Return the beginning of an error's message, on one line."""
    told: list[str] = []
    attempt(lambda: told.append(" ".join(str(error).split())))  # a class of the user's, it may be
    return beginning("".join(told), _MOST)


def in_words(error: Exception) -> str:
    """Return the kind of an error, and the beginning of its message, on one line."""
    message = message_of(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
