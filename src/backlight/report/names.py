"""Names beside points, placed where they can be read."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

_POINT, _LETTER, _HEIGHT = np.array([0.006, 0.012]), 0.006, 0.018  # half of each, of the axes
_AROUND = [
    (right, above * step)
    for step in (0.0, 0.04, 0.08, 0.12, 0.16, 0.2)
    for above in (1, -1)
    for right in (1, -1, 0)
    if right or step
]
"""Where a point's name is tried: right and left of it, then above and below, then farther off."""


def name_points(axes: Axes, x: NDArray[np.int64], y: NDArray[np.float64]) -> None:
    """Write each point's number beside it, where no other name or named point is.

    Args:
        axes: Where the points are; the caller owns the figure.
        x: The points' numbers, which are their horizontal places too.
        y: Their vertical places.
    """
    points = axes.transAxes.inverted().transform(axes.transData.transform(np.column_stack([x, y])))
    middles, halves = list(points), [_POINT] * len(points)
    for number, point in zip(x, points, strict=True):
        half = np.array([_LETTER * len(str(number)) + 0.002, _HEIGHT])
        place = _free_place(point, half, np.array(middles), np.array(halves))
        middles.append(place)
        halves.append(half)
        looks: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "color": "#444444"}
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.text(place[0], place[1], str(number), transform=axes.transAxes, bbox=ground, **looks)
    lines = np.stack([points, middles[len(points) :]], axis=1)
    leader: dict[str, Any] = {"colors": "#bbbbbb", "linewidths": 0.5, "zorder": 2}
    axes.add_collection(
        LineCollection(list(lines), transform=axes.transAxes, **leader), autolim=False
    )


def _free_place(
    point: NDArray[np.float64],
    half: NDArray[np.float64],
    middles: NDArray[np.float64],
    halves: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Find the first place around a point where a rectangle covers no other, else the first."""
    places = point + np.array([(right * (half[0] + 0.012), above) for right, above in _AROUND])
    places = places[places[:, 0] + half[0] <= 1]
    # Two rectangles overlap if both distances of their middles are less than half their sides.
    apart = np.abs(places[:, None] - middles) >= half + halves
    free = apart.any(axis=-1).all(axis=-1)
    return places[free.argmax()]
