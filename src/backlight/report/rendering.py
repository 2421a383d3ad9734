"""A figure as the bytes of a file: equal figures give equal bytes."""

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from backlight.report.visible import make_plain

_DPI = 110


def rendered(name: str, figure: Figure) -> bytes:
    """Render a figure as its file's name says; in a drawing (.svg), text stays text."""
    return svg(figure) if name.endswith(".svg") else png(figure)


def svg(figure: Figure) -> bytes:
    """Render a figure as a drawing."""
    buffer = io.BytesIO()
    make_plain(figure)
    # Without a salt of its own, matplotlib names clipping paths at random; without the rest, it
    # draws letters as paths and writes down the time.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "backlight"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """Render a figure as pixels."""
    buffer = io.BytesIO()
    make_plain(figure)
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
