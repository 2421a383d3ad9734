"""A figure as the bytes of a file, with all its text as signs that can be seen.

Equal figures give equal bytes.
"""

import io
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

from backlight.errors import shorten
from backlight.foreign.text import plain, sign
from backlight.report.canvas import Canvas, Words
from backlight.report.pixels import png_of

_DPI = 110
_LONGEST, _LONGEST_INSIDE = 300, 80  # letters of a line around the panels, and in them


def rendered(name: str, figure: Figure) -> bytes:
    """Render a figure as its file's name says; in a drawing (.svg), text stays text."""
    make_plain(figure)
    return _svg(figure) if name.endswith(".svg") else _png(figure)


def png(figure: Figure) -> bytes:
    """Render a figure as pixels."""
    return rendered(".png", figure)


def _svg(figure: Figure) -> bytes:
    # Without a salt of its own, matplotlib names clipping paths at random; it also writes down the
    # time, its version, and letters as paths, unless it is told not to.
    buffer, unnamed = io.BytesIO(), dict.fromkeys(("Date", "Creator"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "backlight"}):
        figure.savefig(buffer, format="svg", metadata=unnamed)
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    # Figure.savefig would draw everything twice.
    before = figure.dpi
    figure.dpi = _DPI
    try:
        width, height = map(int, figure.bbox.size)
        renderer = _renderer(width, height)
        renderer.clear()
        figure.draw(renderer)
    finally:
        figure.dpi = before
    return png_of(renderer.pixels(), dpi=_DPI)


@lru_cache(maxsize=8)
def _renderer(width: int, height: int) -> Canvas:
    """Return what draws figures of one size; it remembers how large words and formulas are."""
    return Canvas(width, height, _DPI, _words())


@cache
def _words() -> Words:
    return Words(_DPI)


def make_plain(figure: Figure) -> None:
    """Make all text of a figure text that is only read, before it is rendered.

    Control codes, and letters that the typeface does not have, are written by their numbers; a
    ``$`` is a dollar sign and no formula. Numbers that matplotlib itself writes beside an axis stay
    as they are.

    Args:
        figure: The figure, with all that is drawn in it.
    """
    for text in _texts(figure):
        longest = _LONGEST if text in figure.texts else _LONGEST_INSIDE
        text.set_parse_math(False)
        text.set_text(_seen(text.get_text(), longest))
    for axis in _axes_of(figure):
        if _is_labelled(axis):
            axis.set_major_formatter(_PlainLabels(axis.get_major_formatter()))


class _PlainLabels(Formatter):
    """Labels that were given to an axis, made plain when they are written."""

    def __init__(self, given: Formatter) -> None:
        self._given = given

    def __call__(self, x: Any, pos: Any = None) -> str:
        return _seen(self._given(x, pos), _LONGEST_INSIDE)


def _is_labelled(axis: Axis) -> bool:
    return isinstance(axis.get_major_formatter(), (FixedFormatter, FuncFormatter))


def _axes_of(figure: Figure) -> list[Axis]:
    return [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]


def _texts(artist: Artist) -> Iterator[Text]:
    """List all text but the numbers that matplotlib itself writes beside an axis."""
    for child in artist.get_children():
        if isinstance(child, Axis):
            yield child.label
            for tick in child.get_major_ticks() if _is_labelled(child) else ():
                yield from (tick.label1, tick.label2)
        elif isinstance(child, Text):
            yield child
        else:
            yield from _texts(child)


def _seen(text: str, longest: int) -> str:
    lines = (shorten(line, longest) for line in plain(text, lines=True).split("\n"))
    return "\n".join("".join(map(_drawn, line)) for line in lines)


def _drawn(letter: str) -> str:
    return letter if _has_glyph(letter) else sign(letter)


@cache
def _has_glyph(letter: str) -> bool:
    return get_font(findfont(FontProperties())).get_char_index(ord(letter)) != 0
