"""Small panels, one for each layer, all on one scale: drawn as one picture, not one by one.

A grid of thirty panels that each have axes of their own takes ten times as long.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.report.layout import figure_with_text, free_room
from backlight.tables import Column

Points = NDArray[np.floating[Any]]

_MOST_COLUMNS = 6  # panels side by side
_WIDE, _HIGH = 2.1, 1.35  # inches of a panel
_RIGHT, _UP = 2.35, 1.8  # inches from one panel to the next
_LEFT, _BELOW, _BESIDE, _ABOVE = 0.9, 0.62, 0.2, 0.3  # inches around all panels
_TICK, _APART = 0.04, 0.03  # inches: how long a tick is, and from it to its number
_LETTER, _LINE = 0.075, 0.17  # inches, on average, of the names of both sides
_MARGIN = 0.05  # of a scale, free at both of its ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One direction of all panels.

    Attributes:
        name: What goes along.
        low: The smallest value that is shown, on the scale.
        high: The largest.
        ticks: Values on the scale that are numbered.
        labels: How.
        marks: Values between them that have a short tick and no number.
    """

    name: str
    low: float
    high: float
    ticks: Sequence[float]
    labels: Sequence[str]
    marks: Sequence[float] = ()

    def widened(self, *, below: bool = True) -> "Side":
        """Leave a little room at both ends, or at the upper one alone."""
        room = _MARGIN * (self.high - self.low) or 0.5
        return replace(self, low=self.low - room * below, high=self.high + room)

    def parts(self, values: Sequence[float] | Column) -> Column:
        """Return where values on the scale are, from 0 at the low end to 1."""
        return (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A figure with an empty panel for each layer.

    Attributes:
        figure: The figure.
        axes: The one pair of axes on which all panels are, in inches from the figure's corner.
        corners: The lower left corner of each panel.
        across: What is horizontal.
        up: What is vertical.
    """

    figure: Figure
    axes: Axes
    corners: Points
    across: Side
    up: Side

    def places(self, panel: int, x: Column, y: Column) -> Points:
        """Return where points of a panel are in the figure.

        Args:
            panel: The number of the panel.
            x: Their places on the horizontal scale.
            y: Their places on the vertical scale.

        Returns:
            ``[points, 2]``.
        """
        left, bottom = self.corners[panel]
        x, y = np.broadcast_arrays(self.across.parts(x), self.up.parts(y))
        return np.column_stack([left + _WIDE * x, bottom + _HIGH * y])


def empty_grid(
    title: str, layers: Sequence[int], *, across: Side, up: Side, caption: Sequence[str] = ()
) -> Grid:
    """Lay out one small panel for each layer, with its ticks.

    Args:
        title: The title of the figure.
        layers: The layers.
        across: What is horizontal in all of them.
        up: What is vertical.
        caption: The sentences below all panels.

    Returns:
        The grid.
    """
    columns = min(_MOST_COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    width = _LEFT + _RIGHT * (columns - 1) + _WIDE + _BESIDE
    level = textwrap.wrap(across.name, int((width - 0.2) / _LETTER))
    below = _BELOW + _LINE * (len(level) - 1)
    room = below + _UP * (rows - 1) + _HIGH + _ABOVE
    figure = figure_with_text(width, room, title=title, caption=caption)
    height = figure.get_figheight()
    bottom = free_room(figure)[1] * height
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    number = np.arange(len(layers))
    lowest = bottom + below + _UP * (rows - 1 - number // columns)
    corners = np.column_stack([_LEFT + _RIGHT * (number % columns), lowest])
    grid = Grid(figure=figure, axes=axes, corners=corners, across=across, up=up)
    _draw_frames(grid)
    for layer, (left, low) in zip(layers, corners, strict=True):
        axes.text(left + _WIDE / 2, low + _HIGH + 0.06, f"layer {layer}", size=8, ha="center")
    _write_numbers(grid, columns)
    axes.text(width / 2, bottom + 0.06, "\n".join(level), size=10, ha="center", va="bottom")
    _name_upright(grid, textwrap.fill(up.name, int((room - 0.4) / _LETTER)))
    return grid


def _name_upright(grid: Grid, name: str) -> None:
    """Write beside all panels what is vertical in them."""
    middle = (grid.corners[:, 1].min() + grid.corners[:, 1].max() + _HIGH) / 2
    look: dict[str, Any] = {"size": 10, "rotation": 90, "multialignment": "center"}
    grid.axes.text(0.12, middle, name, va="center", **look)


def _draw_frames(grid: Grid) -> None:
    """Draw the frame of every panel, and its ticks."""
    box = np.array([(0, 0), (_WIDE, 0), (_WIDE, _HIGH), (0, _HIGH)])
    frames = list(grid.corners[:, None] + box)
    looks: dict[str, Any] = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.8}
    grid.axes.add_collection(PolyCollection(frames, zorder=4, **looks), autolim=False)
    across, up = grid.across, grid.up
    for xs, ys, length in ((across.ticks, up.ticks, _TICK), (across.marks, up.marks, _TICK / 2)):
        below = [[(x, 0), (x, -length)] for x in _WIDE * across.parts(xs)]
        beside = [[(0, y), (-length, y)] for y in _HIGH * up.parts(ys)]
        marks = grid.corners[:, None, None] + np.reshape([*below, *beside], (-1, 2, 2))
        lines = LineCollection(list(marks.reshape(-1, 2, 2)), colors="black", linewidths=0.8)
        grid.axes.add_collection(lines, autolim=False)


def _write_numbers(grid: Grid, columns: int) -> None:
    """Number the lowest panel of each column, and the first of each row."""
    away = _TICK + _APART
    for left, bottom in grid.corners[-columns:]:
        numbered = zip(grid.across.parts(grid.across.ticks), grid.across.labels, strict=True)
        for x, label in numbered:
            place = (left + _WIDE * x, bottom - away)
            grid.axes.text(*place, label, size=7, ha="center", va="top")
    for left, bottom in grid.corners[::columns]:
        for y, label in zip(grid.up.parts(grid.up.ticks), grid.up.labels, strict=True):
            place = (left - away, bottom + _HIGH * y)
            grid.axes.text(*place, label, size=7, ha="right", va="center_baseline")
