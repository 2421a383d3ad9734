"""All layers' numbers side by side on one scale: distributions, values, and direction by strength.

The tables are those of ``backlight.report.distributions``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from backlight.report.colours import MODES, STAR
from backlight.report.distributions import add_crosses, columns_of, largest_of, look_of_points
from backlight.report.grid import Grid, Points, Side, empty_grid
from backlight.report.scales import CommonScale, power_of_ten
from backlight.report.wrong import CAPTION, is_wrong
from backlight.tables import Table

_NUM_BINS, _NUM_STARS = 50, 5
_MOST_COUNTS = 5  # numbers along a scale of counts


def draw_distributions(title: str, tables: Mapping[int, Table]) -> Figure:
    """Draw how each layer's numbers are distributed, with their means.

    Args:
        title: The title of the figure.
        tables: The numbers of each layer.

    Returns:
        The figure.
    """
    table, column, scale = _first_of(tables)
    index, edges = next(iter(table)), scale.edges(_NUM_BINS)
    counts = [np.histogram(each[column], bins=edges)[0] for each in tables.values()]
    up = _counts_side(f"number of {index}s", int(np.max(counts)))
    across = _side(table.label(column), scale)
    grid = empty_grid(title, list(tables), across=across, up=up)
    steps = np.repeat(scale.transform(edges), 2)
    shapes: list[Points] = []
    means: list[Points] = []
    for panel, (number, each) in enumerate(zip(counts, tables.values(), strict=True)):
        heights = np.concatenate([[0.0], np.repeat(_symlog(number), 2), [0.0]])
        shapes.append(grid.places(panel, steps, heights))
        mean = scale.transform(np.array([each[column].mean()]))
        means.append(grid.places(panel, mean, np.array([up.low, up.high])))
    looks: dict[str, Any] = {"facecolors": MODES[column], "linewidths": 0, "alpha": 0.85}
    grid.axes.add_collection(PolyCollection(shapes, **looks), autolim=False)
    _add_lines(grid, means, colors="black", linewidths=1, linestyles="--")
    return grid.figure


def draw_all_values(title: str, tables: Mapping[int, Table]) -> Figure:
    """Draw each number of each layer, the five largest starred, likely wrong ones crossed.

    Args:
        title: The title of the figure.
        tables: The numbers of each layer.

    Returns:
        The figure.
    """
    table, column, scale = _first_of(tables)
    index = next(iter(table))
    last = float(max(each[index].max() for each in tables.values()))
    round_numbers = MaxNLocator(6, steps=[1, 2, 5, 10], integer=True).tick_values(0, last)
    ticks = [float(tick) for tick in round_numbers if 0 <= tick <= last]
    labels = [f"{tick:g}" for tick in ticks]
    across = Side(name=index, low=0.0, high=last, ticks=ticks, labels=labels).widened()
    up = _side(table.label(column), scale)
    crossed = [is_wrong(each) for each in tables.values()]
    caption = [CAPTION] if any(each.any() for each in crossed) else []
    grid = empty_grid(title, list(tables), across=across, up=up, caption=caption)
    points: list[Points] = []
    stars: list[Points] = []
    for panel, each in enumerate(tables.values()):
        own = grid.places(panel, each[index], scale.transform(each[column]))
        points.append(own)
        stars.append(own[largest_of(each[column], _NUM_STARS)])
    if up.low < 0 < up.high and scale.linear is not None:
        zero = [grid.places(panel, *_level(across, 0.0)) for panel in range(len(tables))]
        _add_lines(grid, zero, colors="black", linewidths=0.6)
    most = max(each.num_rows for each in tables.values())
    _add_points(grid, points, color=MODES[column], **look_of_points(most))
    _add_points(grid, stars, color=STAR, s=28, marker="*", zorder=3)
    wrong = [own[each] for own, each in zip(points, crossed, strict=True)]
    add_crosses(grid.axes, np.concatenate(wrong), size=4)
    return grid.figure


def draw_all_against(title: str, tables: Mapping[int, Table]) -> Figure:
    """Draw the signed mean against the mean of absolute values, both over the largest of these.

    On the grey lines, a dimension always has one sign; on the middle one, signs cancel.

    Args:
        title: The title of the figure.
        tables: Columns ``mean`` and ``mean_abs`` of each layer.

    Returns:
        The figure.
    """
    x = "mean abs / largest mean abs of the layer (outer lines: always one sign)"
    y = "mean / largest mean abs of the layer"
    across = Side(name=x, low=0.0, high=1.0, ticks=(0, 0.5, 1), labels=("0", "0.5", "1"))
    up = Side(name=y, low=-1.0, high=1.0, ticks=(-1, 0, 1), labels=("\u22121", "0", "1"))
    grid = empty_grid(title, list(tables), across=across.widened(), up=up.widened())
    ends = np.array([0.0, 1.0])
    lines = [
        grid.places(panel, ends, sign * ends) for panel in range(len(tables)) for sign in (1, 0, -1)
    ]
    _add_lines(grid, lines, colors="grey", linewidths=0.7)
    points = [
        grid.places(panel, each["mean_abs"] / largest, each["mean"] / largest)
        for panel, each in enumerate(tables.values())
        for largest in [float(each["mean_abs"].max(initial=0.0)) or 1.0]
    ]
    _add_points(grid, points, color="#6b46c1", s=4, alpha=0.5)
    return grid.figure


def _first_of(tables: Mapping[int, Table]) -> tuple[Table, str, CommonScale]:
    """Return one of the tables, its column of numbers, and the scale of all."""
    table = next(iter(tables.values()))
    _, column = columns_of(table)
    return table, column, CommonScale.of(np.concatenate([each[column] for each in tables.values()]))


def _side(name: str, scale: CommonScale) -> Side:
    low, high = scale.transform(np.array([scale.low, scale.high])).tolist()
    values = scale.ticks()
    ticks = scale.transform(np.array(values)).tolist()
    marks = scale.transform(np.array(scale.marks())).tolist()
    labels = [power_of_ten(value) for value in values]
    return Side(name=name, low=low, high=high, ticks=ticks, labels=labels, marks=marks).widened()


def _counts_side(name: str, most: int) -> Side:
    """Make the side of counts: logarithmic above 1, so that a single one far out can be seen."""
    powers = [10**power for power in range(len(str(most)))]
    values = [0, *powers[:: -(-len(powers) // (_MOST_COUNTS - 1))]]
    ticks = _symlog(np.array(values)).tolist()
    labels = [f"{value:,}" for value in values]
    high = float(_symlog(np.array([most]))[0])
    return Side(name=name, low=0.0, high=high, ticks=ticks, labels=labels).widened(below=False)


def _symlog(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(counts < 1, 0.0, 1 + np.log10(np.maximum(counts, 1)))


def _level(side: Side, height: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([side.low, side.high]), np.array([height, height])


def _add_points(grid: Grid, points: list[Points], **looks: Any) -> None:
    places = np.concatenate(points)
    grid.axes.scatter(places[:, 0], places[:, 1], linewidths=0, **looks)


def _add_lines(grid: Grid, lines: list[Points], **looks: Any) -> None:
    grid.axes.add_collection(LineCollection(lines, **looks), autolim=False)
