"""Tables of cells: CSV with commas, semicolons, tabs or bars, and quoted line ends."""

import csv
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from backlight.data.lines import LONGEST, read_lines
from backlight.data.rows import Row, field_of
from backlight.errors import DatasetError, quoted

_DELIMITERS = (",", ";", "\t", "|")
_HINT = "sep="  # the first line that Excel understands


def read_cells(path: Path, wanted: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Read a table whose first line is its headings.

    Cells are separated by what the headings are separated by: the comma, semicolon, tab or bar
    with which most of the wanted columns are found, then most columns. A file whose name ends in
    ``.tsv`` has tabs.

    Args:
        path: The file.
        wanted: The columns that are looked for.

    Yields:
        The number of each row's last line, and its cells by heading.

    Raises:
        DatasetError: If it cannot be read, has a heading twice, or a row has more or fewer cells
            than there are headings, blank ones at its end left out.
    """
    lines = read_lines(path)
    first = list(islice(lines, 1))
    given: str | None = None
    skipped = 0
    if first and first[0].lower().startswith(_HINT) and len(first[0]) == len(_HINT) + 1:
        given, skipped, first = first[0][-1], 1, list(islice(lines, 1))
    if ".tsv" in path.name.lower():
        given = "\t"
    delimiter = given or _delimiter(first, wanted)
    with _large_cells():
        rows = _rows(chain(first, lines), delimiter, path)
        headings = [cell.strip() for cell in next((cells for _, cells in rows), [])]
        twice = next((name for name in headings if name and headings.count(name) > 1), None)
        if twice is not None:
            raise DatasetError(f"{quoted(path)} has two columns {quoted(twice)}; rename one.")
        for number, row in rows:
            cells = _fitted(row, len(headings))
            if len(cells) != len(headings):
                raise DatasetError(
                    f"Line {number + skipped} of {quoted(path)} has not as many cells as headings "
                    f"({len(cells)}, not {len(headings)}); a cell that has {quoted(delimiter)} in "
                    'it must stand in quotes: "like this".'
                )
            named = zip(headings, cells, strict=True)
            yield number + skipped, {name: cell for name, cell in named if name}


def read_cell_rows(path: Path, text_column: str) -> Iterator[Row]:
    """Read one column of a table, as ``read_cells`` does."""
    for number, cells in read_cells(path, {text_column}):
        yield field_of(cells, text_column, f"line {number} of {quoted(path)}")


def _fitted(cells: list[str], width: int) -> list[str]:
    """Cut blank cells off behind the last heading, and fill rows up that have nothing but blanks.

    Spreadsheets write both for cells that were used once.

    Args:
        cells: A row.
        width: How many headings there are.

    Returns:
        The row.
    """
    if not any(map(str.strip, cells)):
        return [""] * width
    return cells if any(map(str.strip, cells[width:])) else cells[:width]


def _rows(lines: Iterable[str], delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DatasetError(
                f"{quoted(path)} cannot be read as CSV: {error} (line {reader.line_num})."
            ) from error
        if cells is None:
            return
        if cells:
            yield reader.line_num, cells


def _delimiter(first: Sequence[str], wanted: Collection[str]) -> str:
    def found(delimiter: str) -> tuple[int, int]:
        try:
            names = next(csv.reader(first, delimiter=delimiter), [])
        except csv.Error:
            return 0, 0
        return len(set(wanted) & {name.strip() for name in names}), len(names)

    return max(_DELIMITERS, key=found)


@contextmanager
def _large_cells() -> Generator[None, None, None]:
    """Allow cells of more than the 131,072 characters that are Python's own limit."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
