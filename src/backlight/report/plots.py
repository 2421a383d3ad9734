"""Figures as plain data: which columns of which table, and how they are drawn.

An experiment declares its figures so, beside its tables; both are kept in the run, and the figures
are drawn from there, again whenever they are wanted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backlight.tables import Column, Table

Log = Literal["", "x", "y", "xy"]

_DODGE = 0.6  # of the room between two categories is used by the series


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes.

    Attributes:
        table: The table that is drawn.
        x: The column along; text makes categories.
        y: The column up.
        series: The column whose values are drawn apart; None for one series.
        where: What columns must hold for a row to be drawn.
        title: What stands above.
        low: The column of intervals' lower ends; None for none.
        high: That of their upper ends.
        dashed: The column of what theory says, drawn dashed; None for none.
        levels: Heights of lines across, by what they are.
        log: Which axes are logarithmic.
        joined: Points are joined to lines; categories never are.
        x_label: What the axis along is called; None for the column's name and unit.
        y_label: What the axis up is called; None for the column's name and unit.
    """

    table: str
    x: str
    y: str
    series: str | None = None
    where: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    title: str = ""
    low: str | None = None
    high: str | None = None
    dashed: str | None = None
    levels: Mapping[str, float] = field(default_factory=dict[str, float])
    log: Log = ""
    joined: bool = True
    x_label: str | None = None
    y_label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure of one or more panels.

    Attributes:
        name: Its file is called ``{name}.png``.
        title: What stands above all.
        panels: Its panels, row by row.
        columns: How many panels stand side by side.
    """

    name: str
    title: str
    panels: Sequence[Panel]
    columns: int = 2


def plots_to_json(plots: Sequence[Plot]) -> list[dict[str, Any]]:
    """Turn figures into what JSON can hold."""
    return [asdict(plot) for plot in plots]


def plots_from_json(found: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Read what ``plots_to_json`` returned."""
    return [
        Plot(
            panels=[Panel(**panel) for panel in plot["panels"]],
            **{name: plot[name] for name in ("name", "title", "columns")},
        )
        for plot in found
    ]


def rows_of(panel: Panel, table: Table) -> Table:
    """Select the rows of a table that a panel draws."""
    # Values are compared as they are written: text that looks like a number is read as one.
    kept = np.ones(table.num_rows, dtype=bool)
    for column, value in panel.where.items():
        names = np.array([_name(each) for each in table[column].tolist()], dtype=np.str_)
        kept &= names == _name(value)
    return table.select(kept)


def series_of(panel: Panel, table: Table) -> dict[str, NDArray[np.bool_]]:
    """Find each series' rows by its name, in the order of the table."""
    if panel.series is None:
        return {"": np.ones(table.num_rows, dtype=bool)}
    values = list(dict.fromkeys(table[panel.series].tolist()))
    column = table[panel.series]
    return {_name(value): column == value for value in values}


def places_of(panel: Panel, table: Table) -> tuple[NDArray[np.float64], list[str]]:
    """Find where rows are along the axis.

    Args:
        panel: What is drawn.
        table: The rows that it draws.

    Returns:
        Numbers, and the names of categories; none if the axis has numbers.
    """
    column: Column = table[panel.x]
    if column.dtype.kind != "U":
        return column.astype(np.float64), []
    names = list(dict.fromkeys(map(str, column)))
    return np.array([names.index(str(value)) for value in column], dtype=np.float64), names


def dodge(number: int, count: int) -> float:
    """Return by how much one of so many series is beside the middle of its category."""
    return _DODGE * ((number + 0.5) / count - 0.5)


def _name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
