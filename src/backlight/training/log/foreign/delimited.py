"""Tables as text: a line of names, and a line of cells for each row."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from backlight.errors import RunDirectoryError, quoted
from backlight.training.log.foreign.text import Text
from backlight.training.log.foreign.words import (
    is_evaluation,
    is_summary,
    long_pair,
    meaning,
    split_of,
)

_DELIMITERS = ",;\t| "
_DECIMAL_COMMA = re.compile(r"^\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s*$")
_TAG = re.compile(r"tag-(.+?)(?: \(\d+\))?\.csv$")
_TESTS = (is_evaluation, is_summary, split_of)
_WIDEST = 100_000  # names of columns
_SHORTEST = 10_000  # characters: more than a number ever has


def delimiter_of(line: str) -> str | None:
    """Find what separates names in the first line of a table.

    Args:
        line: The line.

    Returns:
        The separator; None if the line does not name a quantity and something else.
    """
    for delimiter in sorted(_DELIMITERS[:-1], key=line.count, reverse=True):
        names = _names(line, delimiter)
        ours = any(map(_is_ours, names)) or long_pair(names) is not None
        if len(names) >= 2 and ours and not _numbers(names):
            return delimiter
    words = line.split()
    blank = len(words) >= 2 and all(_is_ours(word) or is_evaluation(word) for word in words)
    return " " if blank and not _numbers(words) else None


def header_of(lines: Sequence[str]) -> tuple[str, str, int] | None:
    """Find the line of names, which may stand behind or in comments.

    Args:
        lines: The first lines that are not empty.

    Returns:
        The names, what separates them, and how many lines stand before them; None if it is no
        table.
    """
    for place, line in enumerate(lines):
        header = line.strip(" \r").lstrip("#").strip(" ")
        delimiter = delimiter_of(header)
        if delimiter is not None:
            return header, delimiter, place
        if not line.startswith(("#", "sep=")):
            break
    return None


class Table:
    """The rows of a table.

    Attributes:
        names: The names of its columns.
        ragged: How many rows had more cells than there are names, and were left out.
    """

    def __init__(self, text: Text, header: str, delimiter: str) -> None:
        self.names = _renamed(_names(header, delimiter), text.path)
        self.ragged = 0
        self._text = text
        self._delimiter = delimiter
        self._shortest = _SHORTEST
        if len(self.names) > _WIDEST:
            raise RunDirectoryError(
                f"{quoted(text.path)} has {len(self.names):,} columns: it is no log of a training."
            )

    def rows(self, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Read the rows.

        Args:
            lines: All lines behind the first.

        Yields:
            The number of each line, and the cells of the columns that may matter.

        Raises:
            RunDirectoryError: If a row is no row of a table.
        """
        pair = long_pair(self.names) or ()
        picked = [
            (place, name)
            for place, name in enumerate(self.names)
            if _is_ours(name) or any(test(name) for test in _TESTS) or name in pair
        ]
        width = len(self.names)
        for number, cells in self._cells(lines):
            if len(cells) > width and any(cell.strip() for cell in cells[width:]):
                self.ragged += 1
            elif cells and cells[:width] != self.names:  # else the log was appended to
                whole = self._whole(cells)
                yield number, {name: whole[place] for place, name in picked if place < len(whole)}

    def _cells(self, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
        number = 1

        def told() -> Iterator[str]:
            nonlocal number
            for number, line in lines:  # noqa: B007
                yield (" ".join(line.split()) if self._delimiter == " " else line) + "\n"

        try:
            for cells in csv.reader(told(), delimiter=self._delimiter):
                yield number, cells
        except csv.Error as error:
            raise RunDirectoryError(
                f"Line {number} of {quoted(self._text.path)} is no row of a table ({error})."
            ) from error

    def _whole(self, cells: list[str]) -> list[str]:
        """Leave out the last cell of a file that may lack its last digits; write points."""
        if len(cells) < len(self.names) and self._text.unended:
            cells = cells[:-1]
        elif len(cells) == len(self.names) and cells[-1]:
            if self._text.unended and len(cells[-1]) < self._shortest:
                cells[-1] = ""
            self._shortest = min(self._shortest, len(cells[-1]))
        if self._delimiter == ",":
            return cells
        return [cell.replace(",", ".") if _DECIMAL_COMMA.match(cell) else cell for cell in cells]


def _names(line: str, delimiter: str) -> list[str]:
    line = " ".join(line.split()) if delimiter == " " else line
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _renamed(names: Sequence[str], path: Path) -> list[str]:
    """Return the column of a TensorBoard download the name that only its file has."""
    plain = [name.casefold() for name in names]
    tag = _TAG.search(path.name)
    if plain == ["wall time", "step", "value"]:
        return [*names[:2], tag[1].replace("_", "/", 1) if tag else path.stem[:200]]
    return list(names)


def _numbers(names: Sequence[str]) -> bool:
    """Check whether a line holds cells rather than names."""
    return any(re.match(r"[-+]?\.?\d", name) for name in names)


def _is_ours(name: str) -> bool:
    return meaning(name) is not None
