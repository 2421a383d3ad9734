"""Named columns with units: the only currency between computing and showing."""

import csv
import importlib.util
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from backlight.errors import UsageError, beginning, nearest, quoted
from backlight.foreign.cells import marked, protected, unprotected
from backlight.foreign.text import html, plain

Column = NDArray[Any]

_HEADING = re.compile(r"^(?P<name>.*?)(?: \[(?P<unit>.*)\])?$", re.DOTALL)
_MOST_ROWS = 20  # of a table that is shown
_MOST_SAMPLES = 4  # of a column's values in a line
_LONGEST = 60  # letters of a value that is shown


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Table(Mapping[str, Column]):
    """Columns of one length, each with a name and, where it is a quantity, a unit.

    A table is a mapping from names to columns: ``"layer" in table``, ``list(table)``,
    ``table["layer"]`` and ``dict(table)`` work as of a dictionary, and ``len(table)`` is the number
    of columns; ``num_rows`` is the number of rows.

    Attributes:
        name: What the table is about; its file is called ``tables/{name}.csv``.
        columns: One-dimensional arrays: whole numbers, float64, or text. NaN means "not known".
        units: The unit of each column that has one.
    """

    name: str
    columns: Mapping[str, Column]
    units: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        assert len(set(lengths.values())) <= 1, f"columns of unequal length: {lengths}"
        assert set(self.units) <= set(self.columns), "a unit for a column that is not there"

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, column: str) -> Column:
        try:
            return self.columns[column]
        except KeyError:
            there = ", ".join(map(str, self.columns)) or "none"
            hint = nearest(str(column), list(self.columns), otherwise=f"There are {there}.")
            raise KeyError(
                f"The table {self.name} has no column {quoted(column)}. {hint}"
            ) from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        same = (self.name, list(self), self.units) == (other.name, list(other), other.units)
        return same and all(map(_are_equal, self.values(), other.values()))

    __hash__ = None  # type: ignore[assignment]  # columns can change

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Refuse to be one array: numpy and pandas would take the names for the values."""
        raise TypeError("A table is no array; use dict(table), table[column] or table.to_pandas().")

    def __repr__(self) -> str:
        rows = "1 row" if self.num_rows == 1 else f"{self.num_rows:,} rows"
        lines = [f"Table {plain(self.name)!r}, {rows}:"]
        names = [plain(self._heading(name)) for name in self]
        width = max(map(len, names), default=0)
        for heading, column in zip(names, self.values(), strict=True):
            samples = ", ".join(_shown(value) for value in column[:_MOST_SAMPLES].tolist())
            more = ", ..." if len(column) > _MOST_SAMPLES else ""
            lines.append(f"  {heading:<{width}}  {samples}{more}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """Show the first rows as a page does: for notebooks."""
        heads = "".join(f"<th>{html(self._heading(name))}</th>" for name in self)
        columns = [column[:_MOST_ROWS].tolist() for column in self.values()]
        rows = [
            "<tr>" + "".join(f"<td>{html(_shown(value))}</td>" for value in row) + "</tr>"
            for row in zip(*columns, strict=True)
        ]
        left_out = self.num_rows - len(rows)
        more = f" (and {left_out:,} more rows)" if left_out else ""
        return (
            f"<table><caption>{html(self.name)}{more}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table>"
        )

    @property
    def num_rows(self) -> int:
        """How long the columns are."""
        return next((len(column) for column in self.columns.values()), 0)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "Table":
        """Keep the rows for which ``keep`` is true, or those that it numbers, in their order."""
        columns = {name: column[keep] for name, column in self.columns.items()}
        return Table(name=self.name, columns=columns, units=self.units)

    def label(self, column: str) -> str:
        """Name a column with its unit, as on an axis."""
        unit = self.units.get(column)
        words = column.replace("_", " ")
        return f"{words} ({unit})" if unit else words

    def to_pandas(self) -> Any:
        """Copy the table into a ``pandas.DataFrame``; its ``attrs`` keep the name and the units.

        Returns:
            The frame.

        Raises:
            UsageError: If pandas is not installed.
        """
        if importlib.util.find_spec("pandas") is None:
            raise UsageError("A table becomes a DataFrame with pandas: pip install pandas")
        import pandas

        frame = pandas.DataFrame({name: column.copy() for name, column in self.items()})
        frame.attrs.update(name=self.name, units=dict(self.units))
        return frame

    def to_csv(self) -> str:
        """Write the table as text: headings are ``name [unit]``, NaN is an empty cell.

        Returns:
            The text; numbers have as many digits as it takes to read the same number back. Text
            that a spreadsheet would take for a formula has an apostrophe in front
            (``backlight.foreign.cells``).
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._csv_heading(name) for name in self)
        writer.writerows(zip(*(_cells(column) for column in self.values()), strict=True))
        return text.getvalue()

    @staticmethod
    def from_csv(name: str, text: str) -> "Table":
        """Read what ``to_csv`` wrote.

        Args:
            name: The table's name.
            text: The content of the file.

        Returns:
            The table: a column of whole numbers is int64, of numbers float64, else text.

        Raises:
            UsageError: If this is no table: rows differ in length from the headings, or two
                columns have one name.
        """
        rows = _rows(name, text)
        columns: dict[str, Column] = {}
        units: dict[str, str] = {}
        for index, heading in enumerate(rows[0]):
            match = _HEADING.match(heading)
            assert match is not None
            column = unprotected(match["name"])
            if column in columns:
                raise UsageError(
                    f"The table {quoted(name)} has two columns {quoted(column)}: it was edited."
                )
            columns[column] = _parse([row[index] for row in rows[1:]])
            if match["unit"] is not None:
                units[column] = unprotected(match["unit"])
        return Table(name=name, columns=columns, units=units)

    def _heading(self, name: str) -> str:
        return f"{name} [{self.units[name]}]" if name in self.units else name

    def _csv_heading(self, name: str) -> str:
        written = protected(name, without="[\n")
        return f"{written} [{protected(self.units[name])}]" if name in self.units else written


def _rows(name: str, text: str) -> list[list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise UsageError(f"The table {quoted(name)} is not CSV: {error}.") from error
    if not rows:
        raise UsageError(f"The table {quoted(name)} is an empty file; draw or compute it again.")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise UsageError(
                f"Line {number} of table {quoted(name)} has {len(row)} cells, but there are "
                f"{len(rows[0])} columns: the file was cut or edited."
            )
    return rows


def _are_equal(one: Column, other: Column) -> bool:
    numbers = one.dtype.kind == other.dtype.kind == "f"
    return np.array_equal(one, other, equal_nan=numbers)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if value == value else ""
    return beginning(plain(value), _LONGEST)


def _cells(column: Column) -> list[str]:
    if column.dtype.kind == "f":
        return ["" if value != value else repr(value) for value in column.tolist()]
    texts = [str(value) for value in column.tolist()]
    if column.dtype.kind not in "UO":
        return texts
    read = _parse(texts)
    if (
        read.dtype.kind != "U" and [str(value) for value in read.tolist()] != texts
    ):  # such as 007: a name, not the number 7
        return [marked(text, without=text[:1]) for text in texts]
    return [protected(text) for text in texts]


def _parse(cells: list[str]) -> Column:
    for kind in (np.int64, np.float64):
        try:
            return np.array([cell if cell or kind is np.int64 else "nan" for cell in cells], kind)
        except (ValueError, OverflowError):
            continue
    return np.array([unprotected(cell) for cell in cells], dtype=np.str_)
