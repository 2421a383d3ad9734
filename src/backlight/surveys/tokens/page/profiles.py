"""The gradient's size along the layers, and along the prompt."""

from collections.abc import Iterator

import numpy as np

from backlight.report.intervals import NORMAL_95
from backlight.report.page.building import scale_of
from backlight.report.page.views import LineChart, Lines, Numbers, Series
from backlight.surveys.tokens.page.grids import Grid, grids_of, marks_of
from backlight.surveys.tokens.shown import Shown

_MOST = 6  # lines in a chart, which can be told apart by their colours


def profile_views(shown: Shown) -> Iterator[Lines]:
    """Show how large the gradient is along the layers and along the prompt.

    Args:
        shown: The run.

    Yields:
        A chart of each kind of site, by layer and by token; nothing by layer if there is one only.
    """
    grids = [grid for grid in grids_of(shown) if grid.head is None]
    of_all = f"Mean norm of the gradient over {shown.of_prompts}"
    bands = "1.96 standard errors of a mean over independent prompts"
    deep = [grid for grid in grids if len(grid.rows) > 1 and all(map(str.isdigit, grid.rows))]
    if deep:
        yield Lines(
            title="From layer to layer",
            note=f"{of_all}, at the {_MOST} tokens at most where it is largest anywhere, named by "
            f"their positions. Bands are 95 % intervals ({bands}). Layers where it is zero by "
            "causality are left out.",
            charts=[_by_layer(grid) for grid in deep],
        )
    yield Lines(
        title="Along the prompt",
        note=f"{of_all}, at each token, in {_MOST} layers at most, evenly spread. Bars are 95 % "
        f"intervals ({bands}). Places that are zero by causality are left out.",
        charts=[_by_token(grid) for grid in grids],
    )


def _known(grid: Grid) -> tuple[Numbers, Numbers]:
    """Return means that stand for something, and how far their intervals reach."""
    values = grid.column("gradient_norm")
    marks = marks_of(values, grid.column("num_reaching") == 0)
    known = values if marks is None else np.where(marks == 0, values, np.nan)
    return known, NORMAL_95 * np.nan_to_num(grid.column("gradient_norm_se"))


def _series(name: str, x: Numbers, y: Numbers, reach: Numbers) -> Series:
    return Series(name=name, x=x, y=y, low=y - reach, high=y + reach)


def _by_layer(grid: Grid) -> LineChart:
    values, reach = _known(grid)
    layers = np.array([float(row) for row in grid.rows])
    largest = np.nan_to_num(values).max(axis=0)
    chosen = [place for place in np.argsort(-largest, kind="stable")[:_MOST] if largest[place] > 0]
    return LineChart(
        title=grid.kind,
        x="layer",
        y=f"mean {grid.table.label('gradient_norm')}",
        series=[
            _series(grid.names[place], layers, values[:, place], reach[:, place])
            for place in sorted(chosen)
        ],
        scales=("linear", scale_of(values)),
    )


def _by_token(grid: Grid) -> LineChart:
    values, reach = _known(grid)
    rows = np.linspace(0, len(grid.rows) - 1, min(_MOST, len(grid.rows))).round().astype(int)
    places = np.arange(grid.width, dtype=np.float64)
    names = [f"layer {row}" if row.isdigit() else row for row in grid.rows]
    return LineChart(
        title=grid.kind,
        x="token of prompt and answer",
        y=f"mean {grid.table.label('gradient_norm')}",
        series=[_series(names[row], places, values[row], reach[row]) for row in rows.tolist()],
        scales=("linear", scale_of(values)),
        categories=grid.labels,
    )
