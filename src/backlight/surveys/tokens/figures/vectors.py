"""Figures of the gradient vectors of single prompts: their sizes and angles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from backlight.report.colours import DIVERGING
from backlight.report.layout import add_legend, figure_with_text
from backlight.report.lines import sample
from backlight.surveys.tokens.figures.colouring import MARKERS, Colouring
from backlight.surveys.tokens.shown import Shown, Target
from backlight.tables import Column, Table

_ANSWER = ("answer", "the answer")  # as a label, and in a sentence
_MOST_COSINES = 200
_MOST_NAMED = 12


def draw_statistics(
    rows: Sequence[Sequence[Target]], left_out: Sequence[str], shown: Shown
) -> Figure:
    """Draw the gradient's norm against the answer if that is a number, else against the loss.

    Args:
        rows: The targets, in rows of panels.
        left_out: The names of those that are zero by causality.
        shown: The run.

    Returns:
        The figure.
    """
    prompts = shown.prompts
    column = _numeric_answer(prompts) or "loss"
    label, about = (prompts.label(column), "the loss") if column == "loss" else _ANSWER
    caption = [
        f"Each point is one prompt: the norm of its gradient against {about}. r: their correlation "
        "(Pearson) over n prompts; with independent prompts and no relation, |r| stays below "
        "1.96 / sqrt(n) in 95 % of cases."
    ]
    if left_out:
        more = f" and {len(left_out) - 4} more" if len(left_out) > 4 else ""
        names = ", ".join(left_out[:4])
        zero = f"Not shown, because the gradient there is zero by causality: {names}{more}."
        caption.append(zero)
    title = f"Size of the gradient against {about}, prompt by prompt"
    figure, panels = _panels(rows, 3.0, title=title, subtitle=shown.title, caption=caption)
    norm = shown.positions.label("gradient_norm")
    by_split = Colouring.of(prompts, "split" if "split" in prompts.columns else None)
    for (row, place), axes in panels.items():
        _draw_norms(axes, rows[row][place], prompts[column].astype(np.float64), by_split)
        lowest = (row + 1, place) not in panels
        axes.set(xlabel=label if lowest else "", ylabel="" if place else norm)
    if by_split.groups:
        colours = by_split.groups.items()
        entries = [
            (sample(colour, MARKERS.get(word, "s"), line=""), word) for word, colour in colours
        ]
        last = max(map(len, rows)) - 1
        add_legend(panels[min(place for place in panels if place[1] == last)], entries)
    return figure


def draw_cosines(rows: Sequence[Sequence[Target]], colouring: Colouring, subtitle: str) -> Figure:
    """Draw the cosines between the gradient vectors of each two prompts.

    Args:
        rows: Targets whose vectors differ, in rows of panels.
        colouring: By which prompts are sorted.
        subtitle: What was measured.

    Returns:
        The figure.
    """
    by = colouring.label or "PC1"
    figure, panels = _panels(
        rows,
        3.7,
        title="Cosine of the angle between the gradients of each two prompts",
        subtitle=subtitle,
        caption=[
            f"Row and column are prompts (the first {_MOST_COSINES} at most), sorted by {by}. Red: "
            "both gradients point the same way; white: they are at right angles; blue: opposite. "
            "Red blocks along the diagonal: neighbours in this order ask for the same change.",
        ],
    )
    for (row, place), axes in panels.items():
        _draw_angles(axes, rows[row][place], colouring)
    bar = ScalarMappable(Normalize(-1, 1), DIVERGING)
    figure.colorbar(bar, ax=list(panels.values()), label="cosine", pad=0.01, shrink=0.9, aspect=30)
    return figure


def _panels(
    rows: Sequence[Sequence[Target]], height: float, **text: Any
) -> tuple[Figure, dict[tuple[int, int], Axes]]:
    """Lay out a panel of a height for each target, by row and place in the row."""
    columns = max(map(len, rows))
    figure = figure_with_text(max(4.0 * columns + 1.2, 8), height * len(rows) + 0.3, **text)
    panels = figure.subplots(len(rows), columns, squeeze=False)
    used = {
        (row, place): panels[row, place]
        for row, own in enumerate(rows)
        for place, _ in enumerate(own)
    }
    for axes in set(panels.flat) - set(used.values()):
        axes.set_axis_off()
    return figure, used


def _draw_norms(axes: Axes, target: Target, values: Column, by_split: Colouring) -> None:
    rows, norms = target.prompts, target.norms()
    by_split.draw(axes, values[rows], norms, rows)
    told = _correlation(values[rows], norms)
    axes.set_title(f"{target.name}\n{told}", fontsize=9, parse_math=False)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", scilimits=(-2, 3))


def _correlation(one: Column, other: Column) -> str:
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return f"n = {len(one)}"
    return f"r = {np.corrcoef(one, other)[0, 1]:.2f}, n = {len(one)}"


def _draw_angles(axes: Axes, target: Target, colouring: Colouring) -> None:
    cosines = target.array("cosines")
    rows = target.prompts[: len(cosines)]
    keys = colouring.order[rows]
    if not colouring.label:
        keys = target.array("scores")[: len(cosines), 0]
    order = np.argsort(keys, kind="stable")
    shown = np.ma.masked_invalid(cosines[np.ix_(order, order)])
    axes.pcolormesh(shown, cmap=DIVERGING, vmin=-1, vmax=1, rasterized=True)
    axes.set(aspect="equal", facecolor="#c4c9d1", xticks=[], yticks=[])
    axes.invert_yaxis()
    axes.set_title(target.name, fontsize=9, parse_math=False)
    if colouring.groups:
        _name_groups(axes, keys[order], list(colouring.groups))


def _name_groups(axes: Axes, keys: Column, names: Sequence[str]) -> None:
    places, starts, counts = np.unique(keys, return_index=True, return_counts=True)
    for start in starts[1:]:
        axes.axhline(start, color="black", linewidth=0.5)
        axes.axvline(start, color="black", linewidth=0.5)
    if len(names) <= _MOST_NAMED:
        words = [names[int(place)] for place in places]
        axes.set_yticks(starts + counts / 2, words, fontsize=7, parse_math=False)
        axes.tick_params(axis="y", length=0)


def _numeric_answer(prompts: Table) -> str | None:
    name = "answer_value"
    if name not in prompts.columns or prompts[name].dtype.kind == "U":
        return None
    return name if np.isfinite(prompts[name]).any() else None
