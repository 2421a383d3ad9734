"""From a log of another tool to its history."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backlight.errors import RunDirectoryError, quoted
from backlight.training.log.foreign.columns import Columns
from backlight.training.log.foreign.console import Console, without_colours
from backlight.training.log.foreign.delimited import Table, header_of
from backlight.training.log.foreign.documents import decode, document_rows
from backlight.training.log.foreign.events import MARK, Events
from backlight.training.log.foreign.folders import Found, find_log
from backlight.training.log.foreign.formats import format_of
from backlight.training.log.foreign.putting import put_together
from backlight.training.log.foreign.runs import one_run
from backlight.training.log.foreign.telling import Told, tell, without_steps
from backlight.training.log.foreign.text import Text, head_of, opened
from backlight.training.log.foreign.values import sample_of
from backlight.training.log.foreign.words import FIELDS, Field
from backlight.training.log.history import History

_TABLES = (".csv", ".tsv")
_PEEK = 40  # lines that are looked at to tell a document from lines
_SAMPLE = 2000  # characters of lines that count, to tell the tool by
_SHOWN_KEYS = 12
_LABELS: tuple[tuple[Field, str], ...] = (
    ("loss", "loss"),
    ("norm", "norm of the gradient"),
    ("step", "step"),
)
_MOST_NOISE = 300_000  # lines, after which a log should have begun
_SHOWN = 200  # characters of what else is wrong


def read_foreign(path: Path) -> History:
    """Read a log that another tool wrote.

    Args:
        path: The file, or a folder that holds it.

    Returns:
        What it says; ``understood`` tells what was understood.

    Raises:
        RunDirectoryError: If there is no log, or nothing in it is understood.
    """
    found = find_log(path) if _is_folder(path) else Found(files=[path])
    reader = _Reader(path=found.files[0])
    if MARK in head_of(found.files[0])[:100]:
        reader.read_events(Events(found.files))
    else:
        with opened(found.files[0]) as text:
            reader.read_text(text)
    columns = reader.columns
    if not columns.num_rows:
        raise _nothing(reader)
    run = one_run(columns)
    if not len(run.series["loss"].steps) + len(run.series["norm"].steps) + len(columns.names):
        raise _nothing(reader)
    told = Told(
        tool=format_of(reader.path.name, columns.keys(), reader.sample) or reader.container,
        unit=reader.unit,
        unclear=reader.unclear,
        first_unclear=reader.first_unclear,
        noise=reader.noise,
        notes=tuple(filter(None, (found.note, *reader.notes))),
    )
    return put_together(columns, run, source=str(path), understood=tell(columns, run, told))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # opening it says what is wrong
        return False


@dataclass(slots=True)
class _Reader:
    """Feeds the rows of a log into columns.

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
        self.container, self.unit = "TensorBoard", "record"
        self._add_all(events.rows())
        self.notes += events.notes

    def read_text(self, text: Text) -> None:
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
        if start == '{"' and not _is_nearly_json(line):
            self.unclear += 1
            self.first_unclear = self.first_unclear or number
            return
        row = console.row(line, unended=unended)
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
    """Tell one JSON value over the whole file from lines that are a value each.

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


def _is_nearly_json(line: str) -> bool:
    """Tell whether a line is one whole object, though no JSON: some programs write ``nan``."""
    return line.count("{") == 1 and line.rstrip().endswith("}")


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


def _nothing(reader: _Reader) -> RunDirectoryError:
    """Say what a log has instead of what is needed."""
    columns, skipped = reader.columns, reader.columns.skipped
    names = [sample_of(key) for key in columns.keys()[:_SHOWN_KEYS]]
    more = len(columns.keys()) - len(names)
    understood = "; ".join(f"{label}: {', '.join(FIELDS[name][:4])}" for name, label in _LABELS)
    if skipped.unread:
        has = f"{skipped.unread:,} values such as {skipped.example} that are no numbers"
    elif names:
        has = f"{', '.join(names)}{f' and {more} others' if more > 0 else ''}"
    else:
        has = f"no {reader.unit} with names and numbers"
    notes = " ".join([*reader.notes, *without_steps(columns)])
    has += f" ({notes[:_SHOWN].rstrip('.')})" if notes else ""
    return RunDirectoryError(
        f"{quoted(reader.path)} holds no norm of a gradient and no loss of a step: it has {has}. "
        f"Understood are, among others: {understood}."
    )
