"""What figures are painted on: pixels, where words that were painted before are painted again.

Most words of a figure stand in others too, such as the numbers along its axes and the sentences
below; they are laid out and painted once, and from then on copied to whole pixels.
"""

from collections.abc import Hashable
from math import ceil
from typing import Any

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray

_EDGE = 3  # pixels that letters may reach beyond their box
_LONG, _HIGH = 2400, 60  # pixels, of a level text that is kept
_REACH = 250  # pixels, of one that is turned
_MOST = 2000  # texts that are kept
_Stamp = tuple[NDArray[np.uint8], int, int]


class Words:
    """Words as they were painted, for all canvases of one resolution."""

    def __init__(self, dpi: float) -> None:
        """Begin with none.

        Args:
            dpi: How many pixels are an inch.
        """
        self._level = RendererAgg(_LONG, 2 * _HIGH, dpi)
        self._turned = RendererAgg(2 * _REACH, 2 * _REACH, dpi)
        self._stamps: dict[Hashable, _Stamp | None] = {}

    def find(
        self, gc: GraphicsContextBase, s: str, prop: FontProperties, angle: float, ismath: Any
    ) -> _Stamp | None:
        """Find a text, or paint it now.

        Args:
            gc: Its colour.
            s: The text.
            prop: Its typeface.
            angle: How it is turned.
            ismath: It is a formula.

        Returns:
            Its pixels, and how far they reach left of and below where the text begins; None if it
            is too large to be kept.
        """
        key = (s, hash(prop), angle, ismath, gc.get_rgb(), gc.get_alpha())
        if key not in self._stamps:
            if len(self._stamps) == _MOST:
                self._stamps.clear()
            self._stamps[key] = self._painted(gc, s, prop, angle, ismath)
        return self._stamps[key]

    def _painted(
        self, gc: GraphicsContextBase, s: str, prop: FontProperties, angle: float, ismath: Any
    ) -> _Stamp | None:
        width, height, _ = self._level.get_text_width_height_descent(s, prop, ismath)
        wide, high = ceil(width) + _EDGE, ceil(height) + _EDGE
        if angle % 360:
            paper, left, right, most = self._turned, wide + high, wide + high, _REACH
            above, x, y = left, _REACH, _REACH
        else:
            paper, left, right, most = self._level, _EDGE, wide, _HIGH
            above, x, y = high, _EDGE, _HIGH
        if above > most or x + right > paper.width:
            return None
        ink = paper.new_gc()
        ink.copy_properties(gc)
        ink.set_clip_rectangle(None)
        ink.set_clip_path(None)
        paper.clear()
        paper.draw_text(ink, x, y, s, prop, angle, ismath)
        painted = np.asarray(paper.buffer_rgba())[y - above : y + above, x - left : x + right]
        return painted[::-1].copy(), left, above


class Canvas(RendererAgg):
    """Pixels of one size on which one figure after another can be painted."""

    def __init__(self, width: int, height: int, dpi: float, words: Words) -> None:
        super().__init__(width, height, dpi)
        self._words = words

    def pixels(self) -> NDArray[np.uint8]:
        """Return what was painted, ``[height, width, 3]``."""
        return np.asarray(self.buffer_rgba())[:, :, :3]

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        """Paint a text that begins at a place; ``matplotlib`` calls this."""
        found = self._words.find(gc, s, prop, angle, ismath)
        if found is None:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
        else:
            image, left, below = found
            self.draw_image(gc, round(x) - left, self.height - round(y) - below, image)
