"""Tables on the terminal: any table, by the declarations of the columns that are shown of it."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table as RichTable

from backlight.surveys.driver.words.sentences import with_error
from backlight.surveys.driver.words.terminal import console
from backlight.tables import Table

_SURENESS = ("_std", "_low", "_high")
_MANY_COLUMNS = 8
_PADDED_POWER = re.compile(r"(?<=e)(?:\+|(-))0*(?=\d)")


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign that may stand in the cells of a column.

    Attributes:
        letters: The sign; of several letters, any of them.
        meaning: The sentence that explains it below a table in which it is to be seen.
    """

    letters: str
    meaning: str

    def is_in(self, cell: str) -> bool:
        """Whether the sign stands in a cell as it is printed."""
        return any(letter in cell for letter in self.letters)


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is printed.

    Attributes:
        heading: What stands above it.
        name: The column of the table.
        form: How a number is written, such as ``.3e``; empty for text and whole numbers. A number
            that is not known is blank.
        unit: What follows each number.
        cell: Makes the text of a cell from a row of the table, instead of ``name`` and ``form``.
        wraps: A cell may be broken into lines, or cut off where a row must be one line.
        is_context: A cell marks a token in its text, and is cut off around it.
        sign: A sign in cells that is explained where there are few lines; captions do so elsewhere.
    """

    heading: str
    name: str = ""
    form: str = ""
    unit: str = ""
    cell: Callable[[Table, int], str] | None = None
    wraps: bool = False
    is_context: bool = False
    sign: Sign | None = None

    def text(self, table: Table, row: int) -> str:
        """Write one cell."""
        if self.cell is not None:
            return self.cell(table, row)
        return number(table[self.name][row], self.form, self.unit)

    def is_text(self, table: Table) -> bool:
        """Whether the column holds words, which begin at the left."""
        return self.cell is None and table[self.name].dtype.kind in "UO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A table as it is printed.

    Attributes:
        table: The table; every row of it is printed.
        columns: What is shown of it.
        title: What stands above it; of a small table on a screen, its first heading says it.
        caption: What its numbers mean.
        num_all: How many rows there are, where the table has only some of them.
    """

    table: Table
    columns: Sequence[Column]
    title: str = ""
    caption: str = ""
    num_all: int | None = None


def number(value: Any, form: str = "", unit: str = "") -> str:
    """Write a value of a table; a number that is not known is blank, and 1e-05 is ``1e-5``."""
    if value != value:
        return ""
    written = f"{value:{form}}" if form else f"{value}"
    return (_PADDED_POWER.sub(r"\1", written) if form else written) + unit


def sure_number(name: str) -> Callable[[Table, int], str]:
    """Write a number with its standard error, which stands in the column ``*_se`` if any does."""

    def cell(table: Table, row: int) -> str:
        error = table[f"{name}_se"][row] if f"{name}_se" in table else np.nan
        value = table[name][row]
        return "" if value != value else with_error(float(value), float(error))

    return cell


def percent(name: str) -> Callable[[Table, int], str]:
    """Write a share as per cent."""
    return lambda table, row: number(100 * table[name][row], ".1f", " %")


def whole(name: str) -> Callable[[Table, int], str]:
    """Write a whole number that stands in a column of floats."""
    return lambda table, row: number(float(table[name][row]), ".0f")


def print_shown(shown: Iterable[Shown | str]) -> None:
    """Print tables, and sentences between them."""
    for each in shown:
        if isinstance(each, str):
            console().print(each)
        else:
            console().print(_rich(each))


def _rich(shown: Shown) -> RichTable:
    table = shown.table
    rows = [[column.text(table, row) for column in shown.columns] for row in range(table.num_rows)]
    rich = RichTable(title=shown.title, caption=shown.caption or None, caption_justify="left")
    for place, column in enumerate(shown.columns):
        words = column.is_text(table)
        # Where a terminal is narrow, headings are broken into lines, and numbers are not.
        keeps = bool(column.form) and not column.wraps
        rich.add_column(
            column.heading,
            justify="left" if words or column.wraps else "right",
            no_wrap=words and not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
            min_width=max((len(row[place]) for row in rows), default=0) if keeps else None,
        )
    for row in rows:
        rich.add_row(*row)
    return rich


def every_column(table: Table) -> Shown:
    """Show all columns of a table; what says how sure one is stands in the same cell."""
    names = [name for name in table if not _belongs_to_another(name, table)]
    between = "\n" if len(names) > _MANY_COLUMNS else " "

    def cell(name: str) -> Callable[[Table, int], str]:
        return lambda table, row: _with_sureness(table, name, row, between)

    columns = [
        Column(table.label(name), name)
        if table[name].dtype.kind == "U"
        else Column(table.label(name), cell=cell(name))
        for name in names
    ]
    return Shown(table=table, columns=columns, title=table.name.replace("_", " "))


def _belongs_to_another(name: str, table: Table) -> bool:
    return any(name.removesuffix(end) in table for end in _SURENESS if name.endswith(end))


def _with_sureness(table: Table, name: str, row: int, between: str) -> str:
    value = _brief(table[name][row])
    if value and f"{name}_std" in table:
        spread = _brief(table[f"{name}_std"][row], digits=2)
        return f"{value}{between}± {spread}" if spread else value
    if value and {f"{name}_low", f"{name}_high"} <= table.keys():
        low, high = (_brief(table[f"{name}{end}"][row], digits=3) for end in ("_low", "_high"))
        return f"{value}{between}[{low}, {high}]" if low and high else value
    return value


def _brief(value: Any, *, digits: int = 4) -> str:
    return number(float(value), f".{digits}g") if isinstance(value, np.floating) else str(value)
