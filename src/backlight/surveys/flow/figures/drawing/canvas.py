"""The drawing board of the gradient's paths: where each depth is, and how strong what flows there.

All lengths are inches.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.report.layout import Words, sheet
from backlight.report.strength import Strength
from backlight.surveys.flow.figures.drawing.paths import Paths
from backlight.surveys.flow.figures.drawing.shapes import eased

INK, SOFT, FAINT = "#2b2f38", "#5a6472", "#f1f4f8"
"""Colours of what is to be read first, of what is to be read next, and of the ground."""

_LEFT, _RIGHT = 1.75, 1.35  # beside the layers
_HEADLINE, _NUMBERS, _KEY = 0.42, 0.62, 1.12  # above them and below
_THICKEST = 1.15  # of the stream
_EDGE = 0.16  # from a loop's bead to the end of the layer's stripe
_SPAN = 12.6  # of all layers, if none gets too narrow or too wide
_NARROWEST, _WIDEST = 0.36, 1.35  # layer
_LEAST_WIDTH = 10.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Where everything is.

    Attributes:
        axes: On which one unit is one inch.
        paths: What is drawn.
        scale: How strengths look.
        width: Of the whole board.
        left: Where the stream enters the first layer.
        step: From one layer to the next.
    """

    axes: Axes
    paths: Paths
    scale: Strength
    width: float
    left: float
    step: float

    rise = 0.62
    """From the stream's edge to the top of a loop."""

    @staticmethod
    def of(paths: Paths, words: Words) -> tuple[Figure, "Board"]:
        """Lay out a figure for some paths.

        Args:
            paths: The paths.
            words: What is written around them.

        Returns:
            The figure and its board.
        """
        step = _step(paths.num_layers)
        span = step * paths.num_layers + _LEFT + _RIGHT
        width = max(span, _LEAST_WIDTH)
        figure = sheet(width, _KEY + _NUMBERS + _stripe() + _HEADLINE, words)
        board = Board(
            axes=_plain_axes(figure),
            paths=paths,
            scale=paths.scale,
            width=width,
            left=_LEFT + (width - span) / 2,
            step=step,
        )
        board.axes.set(xlim=(0, width), ylim=(0, _KEY + _NUMBERS + _stripe() + _HEADLINE))
        return figure, board

    @property
    def bottom(self) -> float:
        """Where the stripes of layers end below."""
        return _KEY + _NUMBERS

    @property
    def top(self) -> float:
        """Where they end above."""
        return self.bottom + _stripe()

    @property
    def middle(self) -> float:
        """The middle line of the stream."""
        return self.bottom + _stripe() / 2

    @staticmethod
    def thinner(num_layers: int) -> float:
        """Tell how many times thinner loops are drawn than the stream."""
        return _THICKEST / _loop(num_layers)

    @property
    def branch_thickness(self) -> float:
        """How thick a loop is at most."""
        return _loop(self.paths.num_layers)

    @property
    def stream_thickness(self) -> float:
        """How thick the stream is at most."""
        return _THICKEST

    def x(self, depth: float) -> float:
        """Give the place of a depth."""
        return self.left + self.step * depth

    def norms(self, depths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the stream's norm at depths, between known ones smoothly by ratios."""
        logs = np.log(np.maximum(self.paths.norms, self.scale.low))
        return np.exp(eased(self.paths.depths, logs, depths))

    def halves(self, depths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give half the stream's thickness at depths."""
        return self.scale.thickness(self.norms(depths)) * _THICKEST / 2

    def half(self, depth: float) -> float:
        """Give half the stream's thickness at one depth."""
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


def _loop(num_layers: int) -> float:
    """Keep loops of narrow layers open."""
    return min(0.17, 0.17 * _step(num_layers))


def _stripe() -> float:
    return _THICKEST + 2 * (Board.rise + _EDGE)


def _plain_axes(figure: Figure) -> Axes:
    """Fill the room between the words with axes that cannot be seen."""
    engine = figure.get_layout_engine()
    assert engine is not None
    rect = engine.get()["rect"]
    figure.set_layout_engine("none")
    axes = figure.add_axes(rect)
    axes.set_axis_off()
    return axes
