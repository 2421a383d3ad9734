"""Named columns with units: the only currency between computing and showing."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import UsageError

__all__ = ["Column", "Table"]

Column = NDArray[Any]

_HEADING = re.compile(r"^(?P<name>.*?)(?: \[(?P<unit>.*)\])?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns of one length, each with a name and, where it is a quantity, a unit.

    Attributes:
        name: What the table is about; its file is called ``tables/{name}.csv``.
        columns: One-dimensional arrays: whole numbers, float64, or text without carriage returns
            (CSV cannot hold them). NaN means "not known".
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
        return next((len(column) for column in self.columns.values()), 0)

    def __getitem__(self, column: str) -> Column:
        return self.columns[column]

    def select(self, keep: NDArray[np.bool_]) -> "Table":
        """Keep the rows for which ``keep`` is true."""
        columns = {name: column[keep] for name, column in self.columns.items()}
        return Table(name=self.name, columns=columns, units=self.units)

    def label(self, column: str) -> str:
        """Name a column with its unit, as on an axis."""
        unit = self.units.get(column)
        words = column.replace("_", " ")
        return f"{words} ({unit})" if unit else words

    def to_csv(self) -> str:
        """Write the table as text: headings are ``name [unit]``, NaN is an empty cell.

        Returns:
            The text; numbers have as many digits as it takes to read the same number back.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            f"{name} [{self.units[name]}]" if name in self.units else name for name in self.columns
        )
        writer.writerows(zip(*(_cells(column) for column in self.columns.values()), strict=True))
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
            UsageError: If rows differ in length from the headings.
        """
        rows = list(csv.reader(io.StringIO(text)))
        if not rows:
            raise UsageError(f"The table {name!r} is an empty file; draw or compute it again.")
        columns: dict[str, Column] = {}
        units: dict[str, str] = {}
        for number, row in enumerate(rows, start=1):
            if len(row) != len(rows[0]):
                raise UsageError(
                    f"Line {number} of table {name!r} has {len(row)} cells, but there are "
                    f"{len(rows[0])} columns: the file was cut or edited."
                )
        for index, heading in enumerate(rows[0]):
            match = _HEADING.match(heading)
            assert match is not None
            columns[match["name"]] = _parse([row[index] for row in rows[1:]])
            if match["unit"] is not None:
                units[match["name"]] = match["unit"]
        return Table(name=name, columns=columns, units=units)


def _cells(column: Column) -> list[str]:
    if column.dtype.kind == "f":
        return ["" if value != value else repr(value) for value in column.tolist()]
    return [str(value) for value in column.tolist()]


def _parse(cells: list[str]) -> Column:
    for kind in (np.int64, np.float64):
        try:
            return np.array([cell if cell or kind is np.int64 else "nan" for cell in cells], kind)
        except (ValueError, OverflowError):
            continue
    return np.array(cells, dtype=np.str_)
