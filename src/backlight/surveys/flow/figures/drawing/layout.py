"""The layout of the picture of paths: where each depth is, and how strong what flows there.

All lengths are inches.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.report.layout import figure_with_text, free_room
from backlight.surveys.flow.drawn.paths import Paths, Strength

INK, SOFT, FAINT = "#2b2f38", "#5a6472", "#f1f4f8"
"""Colours of what is to be read first, of what is to be read next, and of the ground."""

_LEFT, _RIGHT = 1.75, 1.35  # beside the layers
_HEADLINE, _NUMBERS, _KEY = 0.42, 0.62, 1.12  # above them and below
_EDGE = 0.16  # from a loop's bead to the end of the layer's stripe
_SPAN = 12.6  # of all layers, if none gets too narrow or too wide
_NARROWEST, _WIDEST = 0.36, 1.35  # layer
_LEAST_WIDTH = 10.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything is.

    Attributes:
        figure: The whole figure.
        axes: On which one unit is one inch.
        paths: What is drawn.
        scale: How strengths look.
        width: The width of the whole picture.
        left: Where the stream enters the first layer.
        step: From one layer to the next.
    """

    figure: Figure
    axes: Axes
    paths: Paths
    scale: Strength
    width: float
    left: float
    step: float

    thickest, rise = 1.15, 0.62
    """How thick the stream is at most; from its edge to the top of a loop."""

    bottom = _KEY + _NUMBERS
    middle = bottom + _EDGE + rise + thickest / 2
    top = 2 * middle - bottom
    """Where the stripes of layers begin and end, and between them the middle of the stream."""

    @staticmethod
    def of(paths: Paths, **text: Any) -> "Layout":
        """Lay out a new figure for some paths.

        Args:
            paths: The paths.
            **text: What is written around them: title, subtitle and caption.

        Returns:
            The layout.
        """
        step = _step(paths.num_layers)
        span = step * paths.num_layers + _LEFT + _RIGHT
        width, height = max(span, _LEAST_WIDTH), Layout.top + _HEADLINE
        figure = figure_with_text(width, height, **text)
        axes = figure.add_axes(free_room(figure), xlim=(0, width), ylim=(0, height))
        axes.set_axis_off()
        return Layout(
            figure=figure,
            axes=axes,
            paths=paths,
            scale=paths.scale,
            width=width,
            left=_LEFT + (width - span) / 2,
            step=step,
        )

    def x(self, depth: float) -> float:
        """Return the place of a depth."""
        return self.left + self.step * depth

    def halves(self, depths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return half the stream's thickness at depths."""
        return self.scale.thickness(self.paths.norms_at(depths)) * self.thickest / 2

    def half(self, depth: float) -> float:
        """Return half the stream's thickness at one depth."""
        return float(self.halves(np.array([float(depth)]))[0])

    def write(self, x: float, y: float, text: str, **looks: Any) -> None:
        """Write a text whose middle is at a height and, unless ``ha`` says otherwise, at ``x``."""
        looks = {"ha": "center", "va": "center", "color": INK, "zorder": 5, **looks}
        self.axes.text(x, y, text, parse_math=False, **looks)


def thickest_loop(num_layers: int) -> float:
    """Return how thick a loop is at most; narrow layers have thin ones, which stay open."""
    return min(0.17, 0.17 * _step(num_layers))


def _step(num_layers: int) -> float:
    return float(np.clip(_SPAN / num_layers, _NARROWEST, _WIDEST))
