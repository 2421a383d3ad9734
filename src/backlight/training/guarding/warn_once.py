"""Warnings that tell the user what went wrong without ending a training run."""

import sys
import warnings

from backlight.errors import beginning
from backlight.training.guarding.guard import attempt

_MOST = 200
"""How many characters of a foreign message are quoted."""


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
