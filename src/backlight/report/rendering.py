"""A figure as the bytes of a file, with all its text as signs that can be seen.

Equal figures give equal bytes.
"""

import io
from collections.abc import Iterator
from functools import cache
from typing import Any

from matplotlib import rc_context
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

from backlight.errors import shorten
from backlight.foreign.text import plain, sign

_DPI = 110
_LONGEST, _LONGEST_INSIDE = 300, 80  # letters of a line around the panels, and in them


def rendered(name: str, figure: Figure) -> bytes:
    """Render a figure as its file's name says; in a drawing (.svg), text stays text."""
    is_drawing = name.endswith(".svg")
    buffer, named = io.BytesIO(), ("Date", "Creator") if is_drawing else ("Software",)
    make_plain(figure)
    # Without a salt of its own, matplotlib names clipping paths at random; it also writes down the
    # time, its version, and letters as paths, unless it is told not to.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "backlight"}):
        ending, dpi = ("svg", "figure") if is_drawing else ("png", _DPI)
        figure.savefig(buffer, format=ending, dpi=dpi, metadata=dict.fromkeys(named))
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """Render a figure as pixels."""
    return rendered(".png", figure)


def make_plain(figure: Figure) -> None:
    """Make all text of a figure text that is only read, before it is rendered.

    Control codes, and letters that the typeface does not have, are written by their numbers; a
    ``$`` is a dollar sign and no formula. Numbers that matplotlib itself writes beside an axis stay
    as they are.

    Args:
        figure: The figure, with all that is drawn in it.
    """
    axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    numbers = {id(text) for axis in axes for text in _numbers(axis)}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if id(text) not in numbers:
            longest = _LONGEST if text in figure.texts else _LONGEST_INSIDE
            text.set_parse_math(False)
            text.set_text(_seen(text.get_text(), longest))
    for axis in axes:
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


def _numbers(axis: Axis) -> Iterator[Text]:
    """List what matplotlib itself writes beside an axis, some of it as formulas."""
    yield axis.offsetText
    ticks = axis.get_minor_ticks()
    if not _is_labelled(axis):
        ticks += axis.get_major_ticks()
    for tick in ticks:
        yield from (tick.label1, tick.label2)


def _seen(text: str, longest: int) -> str:
    lines = (shorten(line, longest) for line in plain(text, lines=True).split("\n"))
    return "\n".join("".join(map(_drawn, line)) for line in lines)


def _drawn(letter: str) -> str:
    return letter if _has_glyph(letter) else sign(letter)


@cache
def _has_glyph(letter: str) -> bool:
    return get_font(findfont(FontProperties())).get_char_index(ord(letter)) != 0
