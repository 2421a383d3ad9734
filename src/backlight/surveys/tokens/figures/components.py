"""The components of one target's gradient vectors: points, shares and their sum."""

from collections.abc import Hashable, Sequence
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from backlight.report.layout import add_legend, figure_with_text, fixed_panels, rewrite, text_lines
from backlight.report.lines import write_instead
from backlight.surveys.tokens.figures.colouring import Colouring
from backlight.surveys.tokens.shown import Target
from backlight.tables import Column

_WIDTH, _HEIGHT = 11, 8
_NUM_BARS = 10
_NOTHING = 1e-12  # of the variance, below which a share is rounding
_SHARES = {90: "#b5542b", 95: "#6b46c1"}
_COLOUR = "#2b6cb0"


@final
class Components:
    """Draws the components of one target after another, where it can on one figure."""

    def __init__(self, colouring: Colouring, subtitle: str) -> None:
        """Draw nothing yet.

        Args:
            colouring: How each prompt looks.
            subtitle: What was measured.
        """
        self._colouring, self._subtitle = colouring, subtitle
        self._sheets: dict[Hashable, _Sheet] = {}

    def draw(self, target: Target) -> Figure:
        """Draw the components of a target whose vectors differ from prompt to prompt.

        Args:
            target: The target.

        Returns:
            The figure, of two by two panels; the next target may be drawn over it.
        """
        explained, scores = target.array("explained"), target.array("scores")
        title = f"Gradient vectors of {len(scores):,} prompts: {target.name}"
        text: dict[str, Any] = {"title": title, "subtitle": self._subtitle}
        text["caption"] = _caption(target, explained)
        # What has as many lines of text, and as many bars, is laid out in the same way.
        lines = [len(each) for each in text_lines(_WIDTH, **text)]
        key = (*lines, min(scores.shape[1], 3), min(len(explained), _NUM_BARS))
        if key not in self._sheets:
            self._sheets[key] = _Sheet(target, self._colouring, text)
        return self._sheets[key].show(target, text)


class _Sheet:
    """One figure of two by two panels."""

    def __init__(self, target: Target, colouring: Colouring, text: dict[str, Any]) -> None:
        self._figure = figure_with_text(_WIDTH, _HEIGHT, **text)
        panels = fixed_panels(self._figure, 4, 2, right=1.75)
        explained = target.array("explained")
        self._pairs = [
            _Pair(axes, second, colouring)
            for axes, second in zip(panels[:2], (1, 2), strict=True)
            if _has(target, axes, second)
        ]
        self._shares = _Shares(panels[2], len(explained[:_NUM_BARS]))
        self._sum = _Sum(panels[3])
        _explain(self._figure, panels[1], colouring)

    def show(self, target: Target, text: dict[str, Any]) -> Figure:
        rewrite(self._figure, **text)
        for pair in self._pairs:
            pair.show(target)
        self._shares.show(target.array("explained"))
        self._sum.show(target.array("explained"))
        return self._figure


def _explain(figure: Figure, axes: Axes, colouring: Colouring) -> None:
    """Explain colours and markers right of a panel."""
    entries = colouring.samples()
    if entries:
        add_legend(axes, entries, title=colouring.label if colouring.groups else None)
    bar = colouring.bar()
    if bar is not None:
        _, bottom, right, top = axes.get_position().extents
        high = (top - bottom) * (0.82 if entries else 1)
        beside = figure.add_axes((right + 0.02, bottom, 0.018, high))
        figure.colorbar(bar, cax=beside).set_label(colouring.label, parse_math=False)


def _caption(target: Target, explained: Column) -> list[str]:
    how = "Vectors are as they are; large dimensions count most."
    if (target.array("scale") != 1).any():
        how = (
            "Before, each dimension was divided by its standard deviation, so that all count alike."
        )
    return [
        "Above: each point is the gradient of one prompt's objective with respect to the vector at "
        "this place, along the directions in which these gradients differ most (principal "
        "components, PC). Prompts whose points are near ask for similar changes of the vector. "
        + how,
        "Below: how much of all their variance each direction explains, and the first ones "
        f"together. Directions with any variance: {int((explained > _NOTHING).sum())}.",
    ]


def _has(target: Target, axes: Axes, second: int) -> bool:
    """Find out whether there is a component, and write so if there is none."""
    scores = target.array("scores")
    if scores.shape[1] > second:
        return True
    held = f"{scores.shape[1]} directions hold all the variance."
    write_instead(axes, f"There is no PC{second + 1}:\n{held}")
    return False


class _Pair:
    """Prompts as points, along the first component and another."""

    def __init__(self, axes: Axes, second: int, colouring: Colouring) -> None:
        self._axes, self._second, self._colouring = axes, second, colouring
        self._points: Sequence[PathCollection] = ()
        axes.axhline(0, color="#999999", linewidth=0.5, zorder=0)
        axes.axvline(0, color="#999999", linewidth=0.5, zorder=0)
        axes.ticklabel_format(scilimits=(-2, 3))

    def show(self, target: Target) -> None:
        explained, scores = target.array("explained"), target.array("scores")
        for points in self._points:
            points.remove()
        axes, x, y = self._axes, scores[:, 0], scores[:, self._second]
        self._points = self._colouring.draw(axes, x, y, target.prompts)
        ends = [(min(each.min(), 0.0), max(each.max(), 0.0)) for each in (x, y)]
        axes.dataLim.set_points(np.transpose(np.array(ends, dtype=np.float64)))
        axes.autoscale_view()
        axes.set_xlabel(f"PC1 ({100 * explained[0]:.1f} % of variance)")
        name = f"PC{self._second + 1}"
        axes.set_ylabel(f"{name} ({100 * explained[self._second]:.1f} % of variance)")


class _Shares:
    """How much each of the first components explains."""

    def __init__(self, axes: Axes, count: int) -> None:
        numbers = np.arange(1, count + 1)
        self._axes = axes
        self._bars = axes.bar(numbers, np.ones(count), color=_COLOUR, alpha=0.85)
        look: dict[str, Any] = {"fontsize": 7, "ha": "center", "va": "bottom"}
        self._labels = [
            axes.annotate("", (number, 1), (0, 1), textcoords="offset points", **look)
            for number in numbers
        ]
        axes.set(xlabel="principal component", ylabel="explained variance (%)")
        axes.margins(y=0.1)
        axes.set_xticks(numbers)

    def show(self, explained: Column) -> None:
        shares = (100 * explained[:_NUM_BARS]).tolist()
        for bar, label, share in zip(self._bars, self._labels, shares, strict=True):
            bar.set_height(share)
            label.set_text(f"{share:.1f}")
            label.xy = (label.xy[0], share)
        self._axes.relim()
        self._axes.autoscale_view()


class _Sum:
    """How much the first components explain together."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        (self._line,) = axes.plot([], [], color=_COLOUR)
        self._needed = [
            axes.plot([], [], "o", color=colour, label="share")[0] for colour in _SHARES.values()
        ]
        for share, colour in _SHARES.items():
            axes.axhline(share, color=colour, linewidth=0.9, linestyle="--")
        axes.set(xlabel="number of components", ylabel="explained together (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        self._words = axes.legend(loc="lower right", frameon=False, fontsize=9).get_texts()

    def show(self, explained: Column) -> None:
        total = 100 * np.cumsum(explained)
        self._line.set_data(np.arange(1, len(total) + 1), total)
        self._line.set_marker("." if len(total) <= 60 else "")
        for share, point, word in zip(_SHARES, self._needed, self._words, strict=True):
            # The sum of all shares is 100 % only up to rounding.
            needed = int((total >= share - 1e-7).argmax()) + 1
            point.set_data([needed], [total[needed - 1]])
            word.set_text(f"{share} %: {needed} component{'s' * (needed > 1)}")
        self._axes.relim()
        self._axes.autoscale_view(scaley=False)
        self._axes.set_ylim(min(total[0], 85) - 5, 102)
