"""Strict JSON lines that are only ever appended to: a torn last line is no loss."""

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from backlight.errors import RunDirectoryError, quoted
from backlight.runs.files import read_file

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode_line(record: Mapping[str, Any]) -> str:
    """Write one object as one line; NaN and infinities become strings.

    Args:
        record: Mappings, sequences, numbers, text and None.

    Returns:
        The line with its end.
    """
    return json.dumps(_encode(record), allow_nan=False, separators=(",", ":")) + "\n"


def decode_number(value: object) -> float | None:
    """Read a number as it is written in a log; None for null, and for what is no number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:  # a whole number of more than 300 digits
            return math.inf if value > 0 else -math.inf
    return _WORDS.get(value) if isinstance(value, str) else None


def open_lines(path: Path) -> TextIO:
    """Open a file of lines to append to it and to read it; it is made if it is not there.

    Args:
        path: The file.

    Returns:
        The open file.

    Raises:
        RunDirectoryError: If something is there that is no plain file, such as a symbolic link,
            which may lead anywhere, or a pipe, which would hold up who writes.
        OSError: If it cannot be opened.
    """
    if path.is_symlink():
        raise _no_file(path)
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | careful, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path)
    return os.fdopen(descriptor, "a+", encoding="utf-8")


def _no_file(path: Path) -> RunDirectoryError:
    return RunDirectoryError(
        f"{quoted(path)} is a link, a pipe or a device, and not a file that the watch made; name "
        "another directory."
    )


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read all objects of a file of JSON lines.

    The last line is left out if it has no end or cannot be read: the process that wrote it was
    stopped in the middle.

    Args:
        path: The file.

    Returns:
        The number of each line, from 1, and its object.

    Raises:
        RunDirectoryError: If there is no such file, it is a pipe or a device, it cannot be read,
            or another line than the last is not a JSON object.
    """
    content = read_file(path)
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    found: list[tuple[int, dict[str, Any]]] = []
    for number, line in lines:
        record = _decode(line)
        if record is not None:
            found.append((number, record))
        elif number != lines[-1][0]:
            raise RunDirectoryError(
                f"Line {number} of {quoted(path)} is not a JSON object, and it is not the last "
                "line, which alone may be torn. Delete the line to read the others."
            )
    return found


def whole_size(content: bytes) -> int:
    """Count how many bytes of a file of lines are whole lines: what is behind them is torn."""
    end = content.rfind(b"\n") + 1
    start = content.rfind(b"\n", 0, end - 1) + 1 if end else 0
    return end if not end or _decode(content[start:end]) is not None else start


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # also bytes that are no UTF-8
        return None
    return cast("dict[str, Any]", record) if isinstance(record, dict) else None


def _encode(value: Any) -> Any:
    if isinstance(value, float):  # nearly all are
        if math.isfinite(value):
            return value
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _encode(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_encode(inner) for inner in value]
    return value
