"""Names beside points, placed where they can be read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

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
    lines: list[list[tuple[float, float]]] = []
    boxes = [_Box(float(across), float(up), 0.006, 0.012) for across, up in points]
    for number, (across, up) in zip(x, points, strict=True):
        box = _free_place(float(across), float(up), len(str(number)), boxes)
        boxes.append(box)
        lines.append([(across, up), (box.x, box.y)])
        axes.text(
            box.x,
            box.y,
            str(number),
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=7,
            color="#444444",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    leaders = LineCollection(
        lines, colors="#bbbbbb", linewidths=0.5, transform=axes.transAxes, zorder=2
    )
    axes.add_collection(leaders, autolim=False)


def _free_place(across: float, up: float, length: int, taken: Sequence["_Box"]) -> "_Box":
    half_width = 0.006 * length + 0.002
    places = [
        _Box(across + right * (half_width + 0.012), up + above, half_width, 0.018)
        for right, above in _AROUND
    ]
    places = [box for box in places if box.x + box.half_width <= 1] or places
    free = (box for box in places if not any(box.overlaps(other) for other in taken))
    return next(free, places[0])


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle in parts of the axes: its middle and half its sides."""

    x: float
    y: float
    half_width: float
    half_height: float

    def overlaps(self, other: "_Box") -> bool:
        return (
            abs(self.x - other.x) < self.half_width + other.half_width
            and abs(self.y - other.y) < self.half_height + other.half_height
        )
