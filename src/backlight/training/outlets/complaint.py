"""Telling the user what went wrong without ending a training run."""

import warnings

__all__ = ["WatchWarning", "complain"]


class WatchWarning(UserWarning):
    """Something of the watch failed; the training goes on."""


def complain(text: str) -> None:
    """Warn; say it last, since where warnings are errors this ends what the caller was doing.

    Args:
        text: One plain sentence.
    """
    warnings.warn(text, WatchWarning, stacklevel=4)
