"""A figure that explains itself: a title above, sentences below, panels between them."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

CAPTION = "caption"
"""The ``gid`` by which the text below the panels is found."""

_LETTER = {9: 0.066, 12: 0.089}  # inches, of the default typeface, on average
_LINE = {9: 0.155, 12: 0.22}  # inches
_SIDE, _EDGE, _KEY = 0.15, 0.1, 0.25  # inches


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is written around the panels of a figure.

    Attributes:
        title: What is shown.
        subtitle: Of what it is shown.
        caption: The sentences that say how to read it; each begins a line.
        key: Patches of a legend below the panels, with their names.
    """

    title: str
    subtitle: str
    caption: Sequence[str]
    key: Sequence[tuple[Patch, str]] = ()


def sheet(width: float, height: float, words: Words) -> Figure:
    """Lay out an empty figure with words above and below; panels are put between them.

    Args:
        width: Of the whole figure in inches.
        height: Of the panels, in inches; room for words is added.
        words: Title, caption and key.

    Returns:
        The figure, which arranges panels that are added to it.
    """
    figure, (bottom, top) = _page(width, height, words)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(rect=(0, bottom, 1, top - bottom), w_pad=_EDGE, h_pad=_EDGE / 2)
    )
    return figure


def sheet_of_panels(
    width: float, height: float, words: Words, *, rows: int, columns: int, right: float
) -> tuple[Figure, list[Axes]]:
    """Lay out a figure with panels at fixed places, which is quicker than to arrange them.

    Args:
        width: Of the whole figure in inches.
        height: Of all panels with their labels, in inches; room for words is added.
        words: Title, caption and key.
        rows: How many panels below each other.
        columns: How many side by side.
        right: Inches to leave free at the right.

    Returns:
        The figure, and its panels row by row.
    """
    figure, (bottom, top) = _page(width, height, words)
    along = figure.get_figheight()
    margins = {
        "left": 0.85 / width,
        "right": 1 - right / width,
        "bottom": bottom + 0.55 / along,
        "top": top - 0.12 / along,
        "wspace": 0.25,
        "hspace": 0.25,
    }
    return figure, list(figure.subplots(rows, columns, squeeze=False, gridspec_kw=margins).flat)


def add_legend(
    axes: Axes, entries: Sequence[tuple[Artist, str]], *, title: str | None = None
) -> None:
    """Add a legend right of the axes; names are shown as they are, whatever signs are in them.

    Args:
        axes: What it explains.
        entries: What is named, and the names.
        title: What all names are of.
    """
    legend = axes.legend(
        [artist for artist, _ in entries],
        ["x"] * len(entries),  # names that begin with _ would be left out
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        fontsize=8,
        title=title,
        title_fontsize=8,
        alignment="left",
        ncols=1 + len(entries) // 24,
    )
    for text, (_, name) in zip(legend.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
    legend.get_title().set_parse_math(False)


def _page(width: float, height: float, words: Words) -> tuple[Figure, tuple[float, float]]:
    """Write all words, and tell between which heights there is room for panels."""
    title, subtitle = _wrap([words.title], width, 12), _wrap([words.subtitle], width, 9)
    caption = _wrap(words.caption, width, 9)
    top = 2 * _EDGE + _LINE[12] * len(title) + _LINE[9] * len(subtitle)
    below = (_EDGE + _LINE[9] * len(caption)) * bool(caption)
    bottom = below + _KEY * bool(words.key) + _EDGE / 2
    total = top + height + bottom
    figure = Figure(figsize=(width, total))
    under = 1 - (_EDGE + _LINE[12] * len(title)) / total
    _write(figure, (0.5, 1 - _EDGE / total), title, size=12, va="top", ha="center")
    _write(figure, (0.5, under), subtitle, size=9, va="top", ha="center", color="#444444")
    left = _SIDE / width
    _write(figure, (left, below / total), caption, size=9, va="top", color="#333333", gid=CAPTION)
    if words.key:
        key = figure.legend(
            [patch for patch, _ in words.key],
            [name for _, name in words.key],
            loc="lower center",
            bbox_to_anchor=(0.5, below / total),
            ncols=len(words.key),
            fontsize=8,
            frameon=False,
        )
        key.set_in_layout(False)
    return figure, (bottom / total, (bottom + height) / total)


def _write(figure: Figure, place: tuple[float, float], lines: Sequence[str], **looks: Any) -> None:
    text = figure.text(*place, "\n".join(lines), parse_math=False, **looks)
    text.set_in_layout(False)


def _wrap(paragraphs: Sequence[str], width: float, size: int) -> list[str]:
    letters = max(20, int((width - 2 * _SIDE) / _LETTER[size]))
    return [line for paragraph in paragraphs for line in textwrap.wrap(paragraph, letters)]
