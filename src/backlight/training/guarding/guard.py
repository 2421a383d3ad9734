"""The one place that lets no failure of the watch out into somebody else's training."""

from collections.abc import Callable

__all__ = ["attempt"]


def attempt(work: Callable[[], object]) -> Exception | None:
    """Do something of the watch's own; give the failure back instead of raising it.

    The training belongs to the user, and nothing that the watch does is worth ending it. So this
    is the one place of the project that catches whatever there may be: other people's sinks and
    functions, tensors of any kind, disks, terminals, memory. What the user does to the process
    (``KeyboardInterrupt``, ``SystemExit``) passes.

    Args:
        work: What is done.

    Returns:
        What it failed with; None if it did not.
    """
    try:
        work()
    except Exception as error:  # noqa: BLE001 - see above: the single guard around the watch
        return error
    return None
