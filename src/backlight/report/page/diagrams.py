"""Drawings that a page can show: shapes that tell their numbers when they are pointed at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from backlight.report.page.views import Numbers, View

Paint = Literal["ink", "soft", "line", "paper", "first", "second", "third", "fourth"]
"""A colour by its part; the page knows it for a light and a dark ground."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One shape of a diagram.

    Attributes:
        kind: A polygon, an open line, or a text at its first point.
        points: The points, ``[points, 2]``, from the upper left corner.
        paint: Its colour.
        opacity: How much of what is behind it is hidden.
        width: How wide a line is; how large a text's letters are.
        text: What a text says.
        align: Where the point of a text is.
        told: What is told when its middle is pointed at, in lines; empty for nothing.
    """

    kind: Literal["polygon", "line", "text"]
    points: Numbers
    paint: Paint = "ink"
    opacity: float = 1.0
    width: float = 1.0
    text: str = ""
    align: Literal["start", "middle", "end"] = "middle"
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagram(View):
    """Shapes that tell their numbers when they are pointed at.

    Attributes:
        width: How wide it is, in the page's pixels where there is room; shapes are in this unit.
        height: How high it is.
        shapes: From back to front.
    """

    width: float
    height: float
    shapes: Sequence[Shape]
