"""Grids as maps: cells in colours, numbers along their sides, and a bar of colours."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from backlight.report.strength import brief

MAP = "map"
"""The ``gid`` of a map's cells."""

_NO_VALUE = "#d5d9e0"
_MANY = 2000  # cells, above which no lines are drawn between them
_LEAST = 0.13  # inches from one number at an axis to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Heads or distances by layer, as cells.

    Attributes:
        values: ``[rows, columns]``; NaN where there is no value.
        rows: What each row is called, from below.
        columns: What each column is called.
    """

    values: NDArray[np.float64]
    rows: list[str]
    columns: list[str]


def draw_grid(figure: Figure, axes: Axes, grid: Grid, norm: Normalize, colormap: str) -> None:
    """Draw a grid, grey where there is no value, with a bar that tells its colours.

    Args:
        figure: Where there is room for the bar.
        axes: Where to draw; the caller owns both.
        grid: What to draw.
        norm: From values to 0..1.
        colormap: The colours.
    """
    height, width = grid.values.shape
    mesh = axes.pcolormesh(
        np.arange(width + 1) - 0.5,
        np.arange(height + 1) - 0.5,
        np.ma.masked_invalid(grid.values),
        norm=norm,
        cmap=colormap,
        edgecolors="white",
        linewidth=0.3 if grid.values.size < _MANY else 0,
        gid=MAP,
    )
    axes.set_facecolor(_NO_VALUE)
    box = axes.get_position()
    for axis, names, inches in (
        (axes.xaxis, grid.columns, box.width * figure.get_figwidth()),
        (axes.yaxis, grid.rows, box.height * figure.get_figheight()),
    ):
        step = max(1, int(np.ceil(_LEAST * max(map(len, names)) ** 0.5 * len(names) / inches)))
        axis.set_ticks(range(0, len(names), step), names[::step])
    axes.tick_params(labelsize=8)
    _add_bar(figure, axes, mesh, norm, grid.values)


def _add_bar(
    figure: Figure,
    axes: Axes,
    mesh: ScalarMappable,
    norm: Normalize,
    values: NDArray[np.float64],
) -> None:
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=22, extend=_open_ends(values, norm))
    bar.ax.tick_params(labelsize=7)
    if isinstance(norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 3) if norm(8.0) < 1 else (1, 2, 5)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: brief(value)))
        bar.ax.yaxis.set_minor_locator(NullLocator())


def _open_ends(
    values: NDArray[np.float64], norm: Normalize
) -> Literal["neither", "min", "max", "both"]:
    """Say at which ends of a scale there are values beyond it."""
    assert norm.vmin is not None
    assert norm.vmax is not None
    below, above = bool((values < norm.vmin).any()), bool((values > norm.vmax).any())
    return "both" if below and above else "min" if below else "max" if above else "neither"


def around_one(values: NDArray[np.float64], *, most: float) -> Normalize:
    """Choose a logarithmic scale around 1 for values, that ends at so many times at most."""
    positive = values[np.isfinite(values) & (values > 0)]
    farthest = float(np.abs(np.log(positive)).max(initial=0.0))
    end = float(np.exp(np.clip(farthest, np.log(2), np.log(most))))
    return LogNorm(1 / end, end)
