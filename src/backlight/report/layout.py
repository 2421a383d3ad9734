"""A figure that explains itself: a title above, sentences below, panels between them.

Lengths are inches.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from backlight.report.rendering import png

CAPTION = "caption"
"""The ``gid`` by which the text below the panels is found."""

_LETTER = {9: 0.066, 12: 0.089}  # of the default typeface, on average
_LINE = {9: 0.155, 12: 0.22}
_SIDE, _EDGE, _KEY = 0.15, 0.1, 0.25
_LABEL_BELOW, _LABEL_BESIDE = 0.29, 0.58  # from panels at fixed places to the names of their sides
_MOST_SMALL = 6  # panels side by side


class _Shown(Figure):
    """A figure that a notebook displays, as it does those of pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self)


def figure_with_text(
    width: float,
    height: float,
    *,
    title: str,
    subtitle: str = "",
    caption: Sequence[str] = (),
    key: Sequence[tuple[Artist, str]] = (),
) -> Figure:
    """Lay out an empty figure with text above and below; panels are put between them.

    Args:
        width: How wide the whole figure is.
        height: How high the panels are with their labels; room for the text is added.
        title: What is shown.
        subtitle: The model and the text that it shows.
        caption: The sentences that say how to read it; each begins a line.
        key: Samples in a legend below the panels, with their names.

    Returns:
        The figure, which arranges panels that are added to it.
    """
    above, small, sentences = text_lines(width, title=title, subtitle=subtitle, caption=caption)
    top = 2 * _EDGE + _LINE[12] * len(above) + _LINE[9] * len(small)
    below = (_EDGE + _LINE[9] * len(sentences)) * bool(sentences)
    bottom = below + _KEY * bool(key) + _EDGE / 2
    total = top + height + bottom
    figure = _Shown(figsize=(width, total))
    under = 1 - (_EDGE + _LINE[12] * len(above)) / total
    _write(figure, (0.5, 1 - _EDGE / total), above, size=12, va="top", ha="center")
    _write(figure, (0.5, under), small, size=9, va="top", ha="center", color="#444444")
    foot = (_SIDE / width, below / total)
    _write(figure, foot, sentences, size=9, va="top", color="#333333", gid=CAPTION)
    if key:
        _add_key(figure, key, below / total)
    room = (0, bottom / total, 1, height / total)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=room, w_pad=_EDGE, h_pad=_EDGE / 2))
    return figure


def text_lines(
    width: float, *, title: str, subtitle: str = "", caption: Sequence[str] = ()
) -> tuple[list[str], list[str], list[str]]:
    """Break the text of a figure into lines; figures of as many lines are laid out alike.

    Args:
        width: How wide the figure is.
        title: See ``figure_with_text``.
        subtitle: See there.
        caption: See there.

    Returns:
        The lines of title, subtitle and caption.
    """
    return _wrap([title], width, 12), _wrap([subtitle], width, 9), _wrap(caption, width, 9)


def rewrite(figure: Figure, *, title: str, subtitle: str = "", caption: Sequence[str] = ()) -> None:
    """Write other text of as many lines around the panels of a figure.

    Args:
        figure: What ``figure_with_text`` returned.
        title: The new title.
        subtitle: The new model and text.
        caption: The new sentences.
    """
    lines = text_lines(figure.get_figwidth(), title=title, subtitle=subtitle, caption=caption)
    for text, own in zip(figure.texts[:3], lines, strict=True):
        text.set_text("\n".join(own))


def free_room(figure: Figure) -> tuple[float, float, float, float]:
    """Return the left, bottom, width and height of the room between the text of a figure.

    From then on the figure arranges nothing by itself, which takes most of the time of drawing one.

    Args:
        figure: A figure without panels.

    Returns:
        Parts of the whole figure.
    """
    engine = figure.get_layout_engine()
    assert engine is not None
    figure.set_layout_engine("none")
    return engine.get()["rect"]


def panels_in(figure: Figure, count: int, columns: int, **options: Any) -> list[Axes]:
    """Put panels into a figure, row by row; places that are left over stay empty.

    Args:
        figure: The figure.
        count: How many.
        columns: How many side by side at most.
        **options: Options of ``Figure.subplots``.

    Returns:
        The panels.
    """
    columns = min(columns, count)
    cells = figure.subplots(-(-count // columns), columns, squeeze=False, **options).flatten()
    for axes in cells[count:]:
        axes.set_axis_off()
    return list(cells[:count])


def fixed_panels(
    figure: Figure,
    count: int,
    columns: int,
    *,
    above: float = 0.12,
    right: float = 0.2,
    **options: Any,
) -> list[Axes]:
    """Put panels at fixed places, which is much quicker than to let the figure arrange them.

    Args:
        figure: The figure.
        count: How many panels.
        columns: How many side by side at most.
        above: What to leave free above the panels.
        right: What to leave free on the right.
        **options: Options of ``Figure.subplots``.

    Returns:
        The panels.
    """
    width, height = figure.get_size_inches()
    _, bottom, _, part = free_room(figure)
    margins = {
        "left": 0.95 / width,
        "right": 1 - right / width,
        "bottom": bottom + 0.55 / height,
        "top": bottom + part - above / height,
        "wspace": 0.25,
        "hspace": 0.25,
    }
    margins |= options.pop("gridspec_kw", {})
    panels = panels_in(figure, count, columns, gridspec_kw=margins, **options)
    for axes in panels:  # places that are looked for each time take a tenth of the time
        box = axes.get_position()
        axes.xaxis.set_label_coords(0.5, -_LABEL_BELOW / (box.height * height))
        axes.yaxis.set_label_coords(-_LABEL_BESIDE / (box.width * width), 0.5)
    return panels


def layer_panels(title: str, layers: Sequence[int], *, x: str, y: str) -> tuple[Figure, list[Axes]]:
    """Lay out one small panel for each layer, each on scales of its own.

    Args:
        title: The title of the figure.
        layers: The layers.
        x: The label of all horizontal axes.
        y: The label of all vertical axes.

    Returns:
        The figure, and the panel of each layer.
    """
    columns = min(_MOST_SMALL, len(layers))
    rows = -(-len(layers) // columns)
    figure = figure_with_text(2.4 * columns + 0.6, 1.7 * rows + 0.75, title=title)
    figure.supxlabel(x, size=10)
    figure.supylabel(y, size=10)
    apart = {"wspace": 0.35, "hspace": 0.6}
    panels = fixed_panels(figure, len(layers), columns, above=0.26, gridspec_kw=apart)
    for layer, axes in zip(layers, panels, strict=True):
        axes.set_title(f"layer {layer}", size=8)
        axes.tick_params(labelsize=7)
    return figure, panels


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


def _add_key(figure: Figure, key: Sequence[tuple[Artist, str]], bottom: float) -> None:
    samples, names = zip(*key, strict=True)
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, bottom)}
    legend = figure.legend(samples, names, ncols=len(key), fontsize=8, frameon=False, **place)
    legend.set_in_layout(False)


def _write(figure: Figure, place: tuple[float, float], lines: Sequence[str], **looks: Any) -> None:
    text = figure.text(*place, "\n".join(lines), parse_math=False, **looks)
    text.set_in_layout(False)


def _wrap(paragraphs: Sequence[str], width: float, size: int) -> list[str]:
    letters = max(20, int((width - 2 * _SIDE) / _LETTER[size]))
    return [line for paragraph in paragraphs for line in textwrap.wrap(paragraph, letters)]
