"""The layout of the picture of paths: where each depth is, and how strong what flows there.

All lengths are inches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.report.layout import figure_with_text, free_room
from backlight.surveys.flow.figures.drawing.paths import Paths
from backlight.surveys.flow.figures.drawing.shapes import eased
from backlight.surveys.flow.figures.drawing.strength import Strength

INK, SOFT, FAINT = "#2b2f38", "#5a6472", "#f1f4f8"
"""Colours of what is to be read first, of what is to be read next, and of the ground."""

THICKEST = 1.15
"""How thick the stream is at most."""

RISE = 0.62
"""From the stream's edge to the top of a loop."""

_LEFT, _RIGHT = 1.75, 1.35  # beside the layers
_HEADLINE, _NUMBERS, _KEY = 0.42, 0.62, 1.12  # above them and below
_EDGE = 0.16  # from a loop's bead to the end of the layer's stripe
_SPAN = 12.6  # of all layers, if none gets too narrow or too wide
_NARROWEST, _WIDEST = 0.36, 1.35  # layer
_LEAST_WIDTH = 10.5

BOTTOM = _KEY + _NUMBERS
TOP = BOTTOM + THICKEST + 2 * (RISE + _EDGE)
MIDDLE = (BOTTOM + TOP) / 2
"""Where the stripes of layers end, and the middle line of the stream between."""


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

    @staticmethod
    def of(paths: Paths, *, title: str, subtitle: str, caption: Sequence[str]) -> "Layout":
        """Lay out a figure for some paths.

        Args:
            paths: The paths.
            title: What is shown.
            subtitle: Of what it is shown.
            caption: The sentences that say how to read it.

        Returns:
            The layout; its axes are those of a new figure.
        """
        step = _step(paths.num_layers)
        span = step * paths.num_layers + _LEFT + _RIGHT
        width, height = max(span, _LEAST_WIDTH), TOP + _HEADLINE
        figure = figure_with_text(width, height, title=title, subtitle=subtitle, caption=caption)
        axes = figure.add_axes(free_room(figure), xlim=(0, width), ylim=(0, height))
        axes.set_axis_off()
        left = _LEFT + (width - span) / 2
        return Layout(
            figure=figure,
            axes=axes,
            paths=paths,
            scale=paths.scale,
            width=width,
            left=left,
            step=step,
        )

    def x(self, depth: float) -> float:
        """Return the place of a depth."""
        return self.left + self.step * depth

    def norms(self, depths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate the stream's norm at depths, between known ones smoothly by ratios."""
        logs = np.log(np.maximum(self.paths.norms, self.scale.low))
        return np.exp(eased(self.paths.depths, logs, depths))

    def halves(self, depths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return half the stream's thickness at depths."""
        return self.scale.thickness(self.norms(depths)) * THICKEST / 2

    def half(self, depth: float) -> float:
        """Return half the stream's thickness at one depth."""
        return float(self.halves(np.array([float(depth)]))[0])

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        colour: str = INK,
        align: Literal["left", "center", "right"] = "center",
    ) -> None:
        """Write a text whose middle is at a height.

        Args:
            x: Where it begins, ends, or has its middle.
            y: The height.
            text: The text.
            size: In points.
            colour: Of its letters.
            align: Which of them is at ``x``.
        """
        self.axes.text(
            x, y, text, ha=align, va="center", size=size, color=colour, zorder=5, parse_math=False
        )


def _step(num_layers: int) -> float:
    return float(np.clip(_SPAN / num_layers, _NARROWEST, _WIDEST))


def loop_thickness(num_layers: int) -> float:
    """Return how thick a loop is at most; narrow layers have thin ones, which stay open."""
    return min(0.17, 0.17 * _step(num_layers))
