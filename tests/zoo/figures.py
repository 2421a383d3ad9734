"""What tests look for in figures."""

from matplotlib.collections import FillBetweenPolyCollection

from backlight.report.layout import CAPTION


def caption(figure):
    """Return the text below a figure, in one line."""
    (text,) = [text for text in figure.texts if text.get_gid() == CAPTION]
    return " ".join(text.get_text().split())


def made(drawings):
    """Draw figures; return them by the names of their files."""
    return {drawing.name: drawing.make() for drawing in drawings}


def bands(axes):
    """List the bands of uncertainty in a panel."""
    return [each for each in axes.collections if isinstance(each, FillBetweenPolyCollection)]
