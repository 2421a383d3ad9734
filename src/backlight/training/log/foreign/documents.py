"""JSON that is one value: an array of steps, or an object that holds one or is one by columns."""

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, cast

from backlight.errors import RunDirectoryError, quoted
from backlight.training.log.foreign.text import LONGEST, Text
from backlight.training.log.foreign.values import read_number
from backlight.training.log.foreign.words import meaning

Row = tuple[int, Mapping[str, Any]]

_HOLDERS = ("log_history", "history", "logs", "rows", "steps", "data", "metrics")
"""The names under which an object may hold the array of its steps."""

_INNER = ("history", "logs", "metrics", "train", "training")
"""The names under which an object may hold an object of columns."""

_DECODER = json.JSONDecoder()
_ROUGH = json.JSONDecoder(parse_int=float)  # a whole number of more than 4,300 digits
_BLANKS = " \t\n\r"
_ENDED = object()  # the text ended before a value did
_SLACK = 10  # characters: the error of a word that was cut off points to its beginning
_MOST = 40_000_000  # characters of an object whose values are columns


def decode(text: str, start: int = 0) -> tuple[Any, int]:
    """Decode a JSON value at the beginning of a text.

    Args:
        text: It may go on behind the value.
        start: Where the value begins.

    Returns:
        The value and where it ends.

    Raises:
        ValueError: If there is none, also if it is nested too deeply.
    """
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _ROUGH.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def document_rows(text: Text) -> Iterator[Row]:
    """Read the steps of a JSON document piece by piece, and of documents behind it.

    Args:
        text: The log.

    Yields:
        The number of each entry, from 1, and its object.

    Raises:
        RunDirectoryError: If it is no JSON, but for an end that was cut off.
    """
    scanner = _Scanner(text)
    numbers = count(1)
    while mark := scanner.peek():
        if mark == "[":
            rows = _entries(scanner)
        elif mark == "{":
            rows = _of_object(scanner)
        else:
            raise scanner.broken("something follows its end")
        yield from zip(numbers, rows, strict=False)


def _of_object(scanner: "_Scanner") -> Iterator[Mapping[str, Any]]:
    """Read an object that holds the array of its steps, or is one step, or one by columns."""
    scanner.take("{")
    others: dict[str, Any] = {}
    held = False
    while not scanner.take("}"):
        key = scanner.key()
        if key is _ENDED:
            break
        split = key == "data" and "columns" in others  # pandas, orient="split"
        if str(key) in _HOLDERS and scanner.peek() == "[" and not split:
            held = True
            yield from _entries(scanner)
        elif (value := scanner.value()) is not _ENDED:
            others[str(key)[:200]] = value
        if scanner.consumed > _MOST:
            raise scanner.broken("its columns are too long; write one line for each step")
        if not scanner.goes_on("}"):
            break
    if held:
        return
    if scanner.peek() == "{":
        yield others
    else:
        yield from _by_columns(others)


def _entries(scanner: "_Scanner") -> Iterator[Mapping[str, Any]]:
    """Read the entries of an array; what is no object is an empty row."""
    scanner.take("[")
    names: list[str] = []
    while not scanner.take("]"):
        value = scanner.value()
        if value is _ENDED:
            return
        if isinstance(value, list) and not names and all(isinstance(each, str) for each in value):
            names = cast("list[str]", value)  # a table: names first, then lists of cells
        elif isinstance(value, list):
            yield dict(zip(names, value, strict=False))
        else:
            yield cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
        scanner.goes_on("]")


def _by_columns(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Turn an object of lists, or of mappings from numbers of rows, into rows.

    ``{"loss": [2.1, 2.0]}`` is what Keras keeps, ``{"loss": {"0": 2.1, "1": 2.0}}`` what pandas
    writes, and ``{"10": {"loss": 2.1}}`` goes by steps.

    Args:
        found: The values of the object.

    Yields:
        Rows; the object itself if it holds none.
    """
    if any(meaning(key) and read_number(value) is not None for key, value in found.items()):
        yield dict(found)  # one step
        return
    inner = next((found[key] for key in _INNER if isinstance(found.get(key), dict)), None)
    if inner is not None:
        yield from _by_columns(cast("dict[str, Any]", inner))
        return
    if found and all(key.isdecimal() and isinstance(row, dict) for key, row in found.items()):
        for key, row in found.items():
            yield {"step": key, **row}
        return
    lists = {
        key: list(cast("dict[str, Any]", value).values()) if isinstance(value, dict) else value
        for key, value in found.items()
        if isinstance(value, (list, dict))
    }
    if set(lists) >= {"columns", "data"}:  # pandas, orient="split"
        names = [str(name) for name in lists["columns"]]
        for row in lists["data"]:
            yield dict(zip(names, row, strict=False)) if isinstance(row, list) else {}
        return
    length = max(map(len, lists.values()), default=0)
    if not length and found:
        yield dict(found)
    for place in range(length):
        yield {key: values[place] for key, values in lists.items() if place < len(values)}


class _Scanner:
    """Reads JSON values one after the other, and no more of the text than they need."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._buffer = ""
        self._start = 0
        self._lines = 0
        self._ended = False
        self.consumed = 0

    def peek(self) -> str:
        """Return the next character that is not blank; empty at the end."""
        while True:
            while self._start < len(self._buffer):
                if self._buffer[self._start] not in _BLANKS:
                    return self._buffer[self._start]
                self._start += 1
            if not self._more():
                return ""

    def take(self, mark: str) -> bool:
        """Step over a mark, if it is next."""
        found = self.peek() == mark
        self._start += found
        return found

    def goes_on(self, end: str) -> bool:
        """Step over a comma, if it is next, and not the end; return whether there is more text."""
        if not self.take(",") and self.peek() not in (end, ""):
            raise self.broken("a comma is missing")
        return bool(self.peek())

    def key(self) -> Any:
        """Read the key that is next and its colon; ``_ENDED`` if the text ends before it does."""
        key = self.value()
        if key is not _ENDED and not self.take(":"):
            raise self.broken("a colon is missing")
        return key

    def value(self) -> Any:
        """Read the value that is next.

        Returns:
            The value; ``_ENDED`` if the text ends before it does.

        Raises:
            RunDirectoryError: If it is no JSON, or far too long.
        """
        self.peek()
        while True:
            try:
                value, end = decode(self._buffer, self._start)
            except ValueError as error:
                if len(self._buffer) - self._start > LONGEST or "deeply" in str(error):
                    raise self.broken(_why(error)) from error
                if self._grow():
                    continue
                if not _is_torn(error, len(self._buffer)):
                    raise self.broken(_why(error)) from error
                self._text.unended = True
                self._start = len(self._buffer)
                return _ENDED
            # A number at the end of the buffer may go on: 1 of 12.
            if end < len(self._buffer) or not self._more():
                self.consumed += end - self._start
                self._start = end
                return value

    def broken(self, why: str) -> RunDirectoryError:
        """Make an error that this is no JSON, and where."""
        line = self._lines + self._buffer.count("\n", 0, self._start) + 1
        return RunDirectoryError(
            f"{quoted(self._text.path)} cannot be read beyond line {line}: it is no JSON ({why})."
        )

    def _grow(self) -> bool:
        """Read at least as much again as is waiting, so that a long value is not tried often."""
        # The text that is tried again doubles each time, so all trials cost as much as two.
        waiting = len(self._buffer) - self._start
        grown = False
        while len(self._buffer) - self._start <= 2 * waiting and self._more():
            grown = True
        return grown

    def _more(self) -> bool:
        piece = "" if self._ended else self._text.read()
        self._ended = not piece
        if piece:
            self._lines += self._buffer.count("\n", 0, self._start)
            self._buffer = self._buffer[self._start :] + piece
            self._start = 0
        return bool(piece)


def _why(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)[:100]


def _is_torn(error: ValueError, length: int) -> bool:
    """Check whether a value is no JSON because the text ends in the middle of it."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= length - _SLACK or error.msg.startswith("Unterminated string")
