"""The one place that lets no failure of the watch out into somebody else's training."""

import signal
from collections.abc import Callable
from traceback import walk_tb


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
