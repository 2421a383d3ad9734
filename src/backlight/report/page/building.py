"""From the columns of tables to what a page shows: lines with bands, points, tokens in context."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from backlight.report.intervals import NORMAL_95
from backlight.report.page.views import LineChart, Numbers, Occurrence, Scale, Series, Statistic
from backlight.tables import Table

BANDS = "Bands are 95 % intervals (1.96 standard errors, clustered by passage)."


def series(table: Table, x: str, column: str, *, name: str = "") -> Series:
    """Make a line of a column, with the 95 % band of its standard error if that is known.

    Args:
        table: The column, and ``{column}_se`` if there is one.
        x: The column along.
        column: The column up.
        name: What a legend calls the line.

    Returns:
        The line.
    """
    values = table[column].astype(np.float64)
    errors = table.columns.get(f"{column}_se")
    known = errors is not None and bool(np.isfinite(errors).any())
    reach = NORMAL_95 * errors if errors is not None and known else None
    return Series(
        name=name,
        x=table[x].astype(np.float64),
        y=values,
        low=None if reach is None else values - reach,
        high=None if reach is None else values + reach,
    )


def chart(table: Table, x: str, column: str, *, title: str = "") -> LineChart:
    """Make a chart of one column, logarithmic if it is above zero everywhere.

    Args:
        table: The columns.
        x: The column along.
        column: The column up.
        title: What stands above.

    Returns:
        The chart.
    """
    line = series(table, x, column)
    return LineChart(
        title=title,
        x=table.label(x),
        y=table.label(column),
        series=[line],
        scales=("linear", scale_of(line.y)),
    )


def shares(table: Table, curves: Mapping[str, Numbers]) -> LineChart:
    """Make a chart of several shares against depth.

    Args:
        table: The column ``layer``.
        curves: The shares of each layer, by what they are called.

    Returns:
        The chart.
    """
    x = table["layer"].astype(np.float64)
    lines = [Series(name=name, x=x, y=values) for name, values in curves.items()]
    return LineChart(x="layer", y="share (0 to 1)", series=lines)


def scale_of(values: Numbers) -> Scale:
    """Choose the scale of an axis: logarithmic if nothing known is zero or below."""
    known = values[np.isfinite(values)]
    return "log" if len(known) and bool((known > 0).all()) else "linear"


def by_layer(table: Table, column: str) -> dict[int, Numbers]:
    """Divide a column by layers.

    Args:
        table: The column, and ``layer``; rows of a layer stand together.
        column: Which.

    Returns:
        The values of each layer, in the order of the rows.
    """
    layers, starts = np.unique(table["layer"], return_index=True)
    order = np.argsort(starts)
    parts = np.split(table[column].astype(np.float64), np.sort(starts)[1:])
    return dict(zip(layers[order].tolist(), parts, strict=True))


def statistics(table: Table, *names: str) -> list[Statistic]:
    """Make what a cloud shows of columns that a table has; errors are found by their names.

    Args:
        table: Columns by layer, and ``{name}_se`` for some.
        *names: Which columns, in their order; those that are not there are left out.

    Returns:
        The statistics, each followed by its error.
    """
    found: list[Statistic] = []
    for name in names:
        if name not in table:
            continue
        error = f"{name}_se" if f"{name}_se" in table else ""
        for each in filter(None, (name, error)):
            own = error if each == name else ""
            values = by_layer(table, each)
            found.append(Statistic(name=each, label=table.label(each), values=values, error=own))
    return found


def largest(values: Mapping[int, Numbers], count: int) -> dict[int, NDArray[np.int64]]:
    """Find the largest absolute values of each layer.

    Args:
        values: The values of each layer.
        count: How many.

    Returns:
        Their numbers, by layer.
    """
    return {
        layer: np.argsort(-np.nan_to_num(np.abs(own)), kind="stable")[:count]
        for layer, own in values.items()
    }


def occurrences(
    table: Table, of: str, kept: Mapping[int, NDArray[np.int64]] | None = None
) -> dict[int, dict[int, list[Occurrence]]]:
    """Collect the tokens where dimensions or features mattered most.

    Args:
        table: Columns ``layer``, ``value``, ``passage``, ``position``, ``context``; by rank.
        of: The column that counts dimensions or features.
        kept: Those of each layer that are wanted; None for all.

    Returns:
        The tokens in context, by layer and number.
    """
    found: dict[int, dict[int, list[Occurrence]]] = {}
    for layer in np.unique(table["layer"]).tolist():
        own = table["layer"] == layer
        rows = table.select(own if kept is None else own & np.isin(table[of], kept[layer]))
        columns = (rows[name].tolist() for name in (of, "value", "passage", "position", "context"))
        by_number = found.setdefault(layer, {})
        for number, value, passage, position, context in zip(*columns, strict=True):
            each = Occurrence(
                value=float(value),
                context=str(context),
                where=f"passage {passage}, position {position}",
            )
            by_number.setdefault(number, []).append(each)
    return found
