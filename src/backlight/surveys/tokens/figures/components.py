"""Figures of principal components: where each prompt's gradient lies among the others."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from backlight.report.layout import add_legend, figure_with_text, fixed_panels
from backlight.report.lines import write_instead
from backlight.surveys.tokens.figures.colouring import Colouring
from backlight.surveys.tokens.figures.targets import Target
from backlight.tables import Column

_NUM_BARS = 10
_NOTHING = 1e-12  # of the variance, below which a share is rounding
_SHARES = {90: "#b5542b", 95: "#6b46c1"}
_COLOUR = "#2b6cb0"


def draw_components(target: Target, colouring: Colouring, subtitle: str) -> Figure:
    """Draw the components of one target's gradient vectors: points, shares and their sum.

    Args:
        target: Whose vectors differ from prompt to prompt.
        colouring: How each prompt looks.
        subtitle: What was measured.

    Returns:
        The figure, of two by two panels.
    """
    explained, scores = target.array("explained"), target.array("scores")
    figure = figure_with_text(
        11,
        8,
        title=f"Gradient vectors of {len(scores):,} prompts: {target.name}",
        subtitle=subtitle,
        caption=_caption(target, explained),
    )
    panels = fixed_panels(figure, 4, 2, right=1.75)
    for axes, second in zip(panels[:2], (1, 2), strict=True):
        _draw_pair(axes, target, second, colouring)
    entries = colouring.samples()
    if entries:
        add_legend(panels[1], entries, title=colouring.label if colouring.groups else None)
    bar = colouring.bar()
    if bar is not None:
        _, bottom, right, top = panels[1].get_position().extents
        high = (top - bottom) * (0.82 if entries else 1)
        beside = figure.add_axes((right + 0.02, bottom, 0.018, high))
        figure.colorbar(bar, cax=beside).set_label(colouring.label, parse_math=False)
    _draw_shares(panels[2], explained)
    _draw_sum(panels[3], explained)
    return figure


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


def _draw_pair(axes: Axes, target: Target, second: int, colouring: Colouring) -> None:
    explained, scores = target.array("explained"), target.array("scores")
    if scores.shape[1] <= second:
        held = f"{scores.shape[1]} directions hold all the variance."
        write_instead(axes, f"There is no PC{second + 1}:\n{held}")
        return
    colouring.draw(axes, scores[:, 0], scores[:, second], target.prompts)
    axes.axhline(0, color="#999999", linewidth=0.5, zorder=0)
    axes.axvline(0, color="#999999", linewidth=0.5, zorder=0)
    axes.set_xlabel(f"PC1 ({100 * explained[0]:.1f} % of variance)")
    axes.set_ylabel(f"PC{second + 1} ({100 * explained[second]:.1f} % of variance)")
    axes.ticklabel_format(scilimits=(-2, 3))


def _draw_shares(axes: Axes, explained: Column) -> None:
    shares = 100 * explained[:_NUM_BARS]
    bars = axes.bar(np.arange(1, len(shares) + 1), shares, color=_COLOUR, alpha=0.85)
    axes.bar_label(bars, fmt="{:.1f}", fontsize=7, padding=1)
    axes.set(xlabel="principal component", ylabel="explained variance (%)")
    axes.margins(y=0.1)
    axes.set_xticks(np.arange(1, len(shares) + 1))


def _draw_sum(axes: Axes, explained: Column) -> None:
    total = 100 * np.cumsum(explained)
    numbers = np.arange(1, len(total) + 1)
    axes.plot(numbers, total, color=_COLOUR, marker="." if len(total) <= 60 else None)
    for share, colour in _SHARES.items():
        # The sum of all shares is 100 % only up to rounding.
        needed = int((total >= share - 1e-7).argmax()) + 1
        axes.axhline(share, color=colour, linewidth=0.9, linestyle="--")
        label = f"{share} %: {needed} component{'s' * (needed > 1)}"
        axes.plot([needed], [total[needed - 1]], "o", color=colour, label=label)
    axes.set(xlabel="number of components", ylabel="explained together (%)")
    axes.set_ylim(min(total[0], 85) - 5, 102)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(loc="lower right", frameon=False, fontsize=9)
