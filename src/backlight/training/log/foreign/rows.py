"""The rows of a log of another tool, in whatever form it is written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backlight.training.log.foreign.columns import Columns
from backlight.training.log.foreign.console import Console, without_colours
from backlight.training.log.foreign.delimited import Table, header_of
from backlight.training.log.foreign.documents import decode, document_rows
from backlight.training.log.foreign.events import Events
from backlight.training.log.foreign.text import Text

_TABLES = (".csv", ".tsv")
_PEEK = 40  # lines that are looked at to tell a document from lines
_SAMPLE = 2000  # characters of lines that count, to tell the tool by
_MOST_NOISE = 300_000  # lines, after which a log should have begun


@dataclass(slots=True)
class Rows:
    """The rows of a log, fed into columns as they are read.

    Attributes:
        path: The file.
        columns: What was read.
        container: How it is written.
        unit: What rows are called.
        sample: Some of the first lines that count.
        unclear: How many lines should have been rows, and cannot be read.
        first_unclear: The number of the first of these.
        noise: How many lines of a console say nothing of a step.
        notes: What else there is to say.
    """

    path: Path
    columns: Columns = field(init=False)
    container: str = ""
    unit: str = "line"
    sample: str = ""
    unclear: int = 0
    first_unclear: int = 0
    noise: int = 0
    notes: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.columns = Columns(self.path)

    def read_events(self, events: Events) -> None:
        """Read the event files of TensorBoard."""
        self.container, self.unit = "TensorBoard", "record"
        self._add_all(events.rows())
        self.notes += events.notes

    def read_text(self, text: Text) -> None:
        """Read what is a JSON document, a table, or lines, whichever it looks like."""
        beginning = text.beginning()
        filled = [line for line in beginning.split("\n", _PEEK) if line.strip()]
        first = filled[0].strip(" \r") if filled else ""
        self.notes += [] if filled else ["The file is empty."]
        table = header_of(filled[:10]) or self._sure_table(first)
        if _is_document(filled, whole="\n" in beginning):
            self.container, self.unit = "JSON", "entry"
            self._add_all(document_rows(text))
        elif table is not None:
            self._read_table(text, *table)
        else:
            self._read_lines(text)
        if text.unended and self.unit == "entry":
            self.notes.append("Its end is cut off, as while a log is being written.")

    def _sure_table(self, first: str) -> tuple[str, str, int] | None:
        if self.path.suffix.casefold() not in _TABLES or not first or first[:1] in ("{", "["):
            return None
        return first, max(",;\t|", key=first.count), 0

    def _read_table(self, text: Text, header: str, delimiter: str, before: int) -> None:
        self.container, lines = "CSV", text.lines()
        for _, line in lines:
            before -= bool(line.strip())
            if before < 0:
                break
        table = Table(text, header, delimiter)
        self._add_all(table.rows(lines))
        for name in table.names:
            if name not in self.columns.columns:
                self.columns.unknown.setdefault(name[:200])
        if table.ragged:
            self.notes.append(f"Left out: {table.ragged:,} rows with more cells than columns.")

    def _read_lines(self, text: Text) -> None:
        console, add, num_objects, number = Console(), self.columns.add, 0, 0
        for number, line in text.lines():
            if line[:1] == "{" or line.lstrip()[:1] == "{":
                rows = _objects(line)
                if rows is not None:
                    num_objects += 1
                    for row in rows:
                        if add(number, row) and len(self.sample) < _SAMPLE:
                            self.sample += line[:_SAMPLE] + "\n"
                    continue
            self._read_words(console, number, line, unended=text.unended)
            if self.noise > _MOST_NOISE and not self.columns.num_rows:
                self.notes.append(f"So much for its first {number:,} lines.")
                break
        self.container = "JSON lines" if num_objects else "console lines"
        if text.unended and self.unclear and self.first_unclear == number:
            self.unclear = 0
            self.notes.append("The last line is cut off, as while a log is being written.")

    def _read_words(self, console: Console, number: int, line: str, *, unended: bool) -> None:
        start = line.lstrip()[:2]
        # Some programs write nan, so that a whole object is no JSON.
        whole = line.count("{") == 1 and line.rstrip().endswith("}")
        torn = start == '{"' and not whole
        row = {} if torn else console.row(line, unended=unended)
        if row and self.columns.add(number, row):
            if len(self.sample) < _SAMPLE:
                self.sample += without_colours(line[:_SAMPLE]) + "\n"
        elif start[:1] == "{" and not row:
            self.unclear += 1
            self.first_unclear = self.first_unclear or number
        elif not row and line.strip():
            self.noise += 1

    def _add_all(self, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        for number, row in rows:
            self.columns.add(number, row)


def _is_document(filled: list[str], *, whole: bool) -> bool:
    """Check whether the whole file is one JSON value, and not lines that are a value each.

    Args:
        filled: The first lines that are not empty.
        whole: The first of them has an end.

    Returns:
        Whether it is one value.
    """
    if not filled:
        return False
    first = filled[0].strip()
    if first.startswith("["):
        return first == "[" or first[1:].lstrip()[:1] in ("{", "[", "]")
    if not first.startswith("{"):
        return False
    try:
        value, end = decode(first)
    except ValueError:
        if not whole:
            return first[1:].lstrip().startswith('"')
        return first == "{" or (len(filled) > 1 and filled[1].lstrip().startswith('"'))
    alone = not first[end:].strip() and len(filled) == 1
    return alone and any(isinstance(inner, (list, dict)) for inner in value.values())


def _objects(line: str) -> list[Mapping[str, Any]] | None:
    """Decode the objects of a line, maybe several; None if it begins with none."""
    found: list[Mapping[str, Any]] = []
    start, length = len(line) - len(line.lstrip()), len(line)
    while start < length and line[start] == "{":
        try:
            value, start = decode(line, start)
        except ValueError:
            return found or None
        found.append(value)
        while start < length and line[start] in " \t,;\r":
            start += 1
    return found
