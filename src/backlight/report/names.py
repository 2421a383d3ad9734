"""Names beside points, placed where they can be read."""

from typing import Any, final

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


@final
class PointNames:
    """The numbers of points, each written beside its point, where no other name or point is."""

    def __init__(self, axes: Axes, most: int) -> None:
        """Write nothing yet.

        Args:
            axes: Where the points are; the caller owns the figure.
            most: How many there are at most.
        """
        looks: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "color": "#444444"}
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        inside: dict[str, Any] = {"transform": axes.transAxes}
        self._axes = axes
        self._texts = [axes.text(0, 0, "", bbox=ground, **looks, **inside) for _ in range(most)]
        leader: dict[str, Any] = {"colors": "#bbbbbb", "linewidths": 0.5, "zorder": 2}
        self._leaders = LineCollection([], **leader, **inside)
        axes.add_collection(self._leaders, autolim=False)

    def show(self, x: NDArray[np.int64], y: NDArray[np.float64]) -> None:
        """Write the names of some points; those of others are gone.

        Args:
            x: The points' numbers, which are their horizontal places too.
            y: Their vertical places.
        """
        to_parts = self._axes.transData - self._axes.transAxes
        points = to_parts.transform(np.column_stack([x, y]))
        middles, halves = list(points), [_POINT] * len(points)
        for text in self._texts:
            text.set_text("")
        for text, number, point in zip(self._texts, x, points, strict=False):
            half = np.array([_LETTER * len(str(number)) + 0.002, _HEIGHT])
            place = _free_place(point, half, np.array(middles), np.array(halves))
            middles.append(place)
            halves.append(half)
            text.set(text=str(number), position=(place[0], place[1]))
        lines = np.stack([points, middles[len(points) :]], axis=1)
        self._leaders.set_segments(list(lines))


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
