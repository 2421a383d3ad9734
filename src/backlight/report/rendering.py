"""A figure as the bytes of a file: equal figures give equal bytes."""

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from backlight.report.visible import make_plain

_DPI = 110


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
