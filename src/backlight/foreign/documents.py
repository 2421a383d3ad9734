"""JSON of strangers: no bombs, no duplicate keys, one sentence for whatever is wrong."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from backlight.errors import BacklightError, quoted
from backlight.foreign.files import MEGABYTE, read_text

UNREADABLE = (
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    ArithmeticError,
    RecursionError,
)
"""What is raised when words are turned into values: impossible dates, numbers of thousands of
digits, keys that cannot be keys, tags that do not fit."""


def read_json(path: Path, *, error: type[BacklightError], most: int = 64 * MEGABYTE) -> Any:
    """Read a JSON file; raises a BacklightError if it cannot be read, or is too large."""
    return parse_json(read_text(path, error=error, most=most), quoted(path), error=error)


def parse_json(text: str, where: str, *, error: type[BacklightError]) -> Any:
    """Read JSON in which no object gives a key twice; raises a BacklightError if it is none."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except UNREADABLE as reason:
        raise error(f"{where} cannot be read as JSON: {reason_of(reason)}.") from reason


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {quoted(twice)} is there twice")
    return found


def reason_of(reason: BaseException) -> str:
    """Explain in the end of a sentence why something could not be read."""
    if isinstance(reason, RecursionError):
        return "it is nested too deeply"
    told = " ".join(str(reason).split()) or type(reason).__name__
    if isinstance(reason, (LookupError, AttributeError, TypeError)):
        told = f"a value does not fit its tag ({told})"
    return told[:200].rstrip(".")
