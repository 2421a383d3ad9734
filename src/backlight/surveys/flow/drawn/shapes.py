"""Shapes of a picture of paths: a ribbon, loops that leave it and come back, and arrowheads.

All lengths are inches.
"""

import numpy as np
from numpy.typing import NDArray

_NUM_POINTS = 33
_OVERLAP = 0.01  # inches


def slices(
    x: NDArray[np.float64], half_thickness: NDArray[np.float64], middle: float
) -> list[NDArray[np.float64]]:
    """Cut a ribbon into slices, so that each can have its own colour.

    Each reaches a little under the next, that no light shines between them.

    Args:
        x: Where to cut, in rising order.
        half_thickness: The half thickness of the ribbon at each cut.
        middle: The height of its middle line.

    Returns:
        The four corners of each slice.
    """
    low, high = middle - half_thickness, middle + half_thickness
    ends = np.append(x[1:-1] + _OVERLAP, x[-1])
    corners = zip(x[:-1], ends, low[:-1], low[1:], high[1:], high[:-1], strict=True)
    return [
        np.array([(start, a), (end, b), (end, c), (start, d)]) for start, end, a, b, c, d in corners
    ]


def loop(
    right: NDArray[np.float64], left: NDArray[np.float64], *, rise: float, thickness: float
) -> NDArray[np.float64]:
    """Bend a band from its right foot over an arch to its left foot, where it ends in a point.

    Args:
        right: Where the band begins.
        left: Where its point is.
        rise: How high the arch is above its feet; below zero, how deep.
        thickness: The thickness of the band.

    Returns:
        The outline, which ends where it begins.
    """
    angle = np.linspace(0, np.pi, _NUM_POINTS)
    part = (1 - np.cos(angle)) / 2
    arch = np.clip(np.sin(angle), 0, None) ** 0.7
    line = np.outer(1 - part, right) + np.outer(part, left) + np.outer(arch, [0.0, rise])
    width = max(2.2 * thickness, 0.07)
    away = np.linalg.norm(line - line[-1], axis=1)
    shaft = line[: int(np.flatnonzero(away >= min(1.1 * width, abs(rise) / 2))[-1]) + 1]
    side = _normals(shaft) * thickness / 2
    head = arrowhead(shaft[-1], left, width=width)
    outline = np.concatenate([shaft + side, head, (shaft - side)[::-1]])
    return np.concatenate([outline, outline[:1]])


def arrowhead(
    base: NDArray[np.float64], tip: NDArray[np.float64], *, width: float
) -> NDArray[np.float64]:
    """Compute the three corners of an arrowhead.

    Args:
        base: The middle of its base.
        tip: Its point.
        width: The width of the base.

    Returns:
        The corner on the right of who walks to the tip, the tip, and the other corner.
    """
    along = (tip - base) / np.linalg.norm(tip - base)
    across = np.array([along[1], -along[0]]) * width / 2
    return np.stack([base + across, tip, base - across])


def _normals(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the direction on the right of who walks along a line."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return np.stack([along[:, 1], -along[:, 0]], axis=1)
