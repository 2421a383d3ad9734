"""What tests look for in figures."""

from matplotlib.collections import PolyCollection

from backlight.report.layout import CAPTION


def caption(figure):
    """Return the text below a figure, in one line."""
    (text,) = [text for text in figure.texts if text.get_gid() == CAPTION]
    return " ".join(text.get_text().split())


def made(drawings):
    """Draw figures; return them by the names of their files.

    The drawings are listed anew for each, since one may draw over the figure of another.
    """
    kept = list(drawings())
    return {each.name: list(drawings())[place].make() for place, each in enumerate(kept)}


def bands(axes):
    """List the bands of uncertainty in a panel."""
    return [each for each in axes.collections if isinstance(each, PolyCollection)]
