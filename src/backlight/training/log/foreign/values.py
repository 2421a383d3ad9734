"""Numbers as logs write them, also as text."""

import math
import re

from backlight.errors import beginning
from backlight.training.log.lines import decode_number

_LARGEST = 2.0**53  # beyond it, whole numbers have no exact float
_WRAPPED = re.compile(r"^(?:tensor|(?:np|numpy)\.\w+|array)\(\s*\[?\s*([^\s,)\]]+)")
_OF_ALL = re.compile(r"^\s*(\d+)\s*/\s*\d+\s*$")
_NOTHING = frozenset({"", "none", "null", "n/a", "na", "<na>"})
_LONGEST_NUMBER = 400  # characters; what is longer is no number, or not worth the time
_LONGEST_QUOTE = 60


def read_number(value: object) -> float | None:
    """Read a number, or text that is one: ``4.156``, ``1e-5``, ``nan``, ``-Infinity``.

    Args:
        value: What stands in the log.

    Returns:
        The number; None for null, for a truth value, and for what is no number.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, list) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]
        return None if isinstance(value[0], list) else read_number(value[0])
    return decode_number(value)


def read_step(value: object) -> float | None:
    """Read the number of a step, also ``12/60`` and ``1,000``; None if it is not whole.

    Args:
        value: What stands in the log.

    Returns:
        A whole number from 0 that a float holds exactly, or None.
    """
    number = None
    if isinstance(value, str):
        match = _OF_ALL.match(value[:_LONGEST_NUMBER])
        number = read_number(match[1] if match else value.replace(",", ""))
    else:
        number = read_number(value)
    return number if number is not None and whole(number) else None


def whole(number: float) -> bool:
    """Check whether a number can be that of a step."""
    return 0 <= number <= _LARGEST and number == math.floor(number)


def is_blank(value: object) -> bool:
    """Check whether a value is a way of writing nothing: null, blanks, dashes, ``n/a``."""
    if isinstance(value, str):
        return value[:_LONGEST_NUMBER].strip(" \t-:").casefold() in _NOTHING
    return value is None


def sample_of(value: object) -> str:
    """Quote what stands in a log, in print, without what steers a terminal, and not for long."""
    return repr(beginning(str(value), _LONGEST_QUOTE))


def _from_text(text: str) -> float | None:
    if len(text) > _LONGEST_NUMBER:
        return None
    text = text.strip().strip("'\"")
    wrapped = _WRAPPED.match(text)
    text = wrapped[1] if wrapped else text
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
