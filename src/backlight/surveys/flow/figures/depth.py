"""The gradient's norm along depth, and what goes around and through each block."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backlight.report.colours import shades
from backlight.report.layout import figure_with_text
from backlight.report.lines import BANDS, draw_band, finish, sample
from backlight.report.scales import make_logarithmic
from backlight.surveys.flow.drawn.grids import range_name
from backlight.tables import Table

FIT = "fit"
"""The ``gid`` of the fitted line."""

_INK = "#2b2f38"
_HALVES = {"attention": "#2b6cb0", "mlp": "#b5542b", "block": "#2f855a"}  # block: both, in parallel
_CAPTION = (
    "A block adds what its branch makes of the stream: y = x + f(x). Its gradient comes back "
    "on two paths: direct, dL/dy, around the branch, and transform, dL/dx \u2212 dL/dy, "
    "through it. Norms are root mean squares over tokens.",
    "Share: the transform path's square over the sum of both squares. Cosine: mean over tokens "
    "of the cosine between the two; above 0 the branch makes the gradient stronger, below 0 "
    "it works against it.",
    BANDS,
    "Parallel blocks: attention and MLP read the same stream; each is compared with the "
    "path around both of them, and \u201cblock\u201d is both branches together.",
)


def draw_depth_profile(depth: Table, by_position: Table, slopes: Table, *, subtitle: str) -> Figure:
    """Draw the gradient's norm from the embedding to the last layer, and by position.

    Args:
        depth: The table of norms by depth.
        by_position: The same by groups of positions.
        slopes: The slopes: of all positions, then of each group.
        subtitle: What was measured.

    Returns:
        The figure.
    """
    figure = figure_with_text(
        14,
        4.2,
        title="Norm of the gradient along depth",
        subtitle=subtitle,
        caption=[
            "Root mean square over tokens of the norm of dL/dx where the residual stream enters "
            "each layer; depth 0 is the embedding, the last depth is behind the last layer.",
            f"{BANDS} Slope: of a straight line through the logarithms (dashed), per layer walked "
            "backward, towards the embedding: below 0 the gradient vanishes, above 0 it explodes; "
            "its interval holds 95 % of the slopes of a bootstrap over passages.",
            "By position: tokens in groups by how far they are from the beginning of their "
            "passage, in the colours of the right panel. The last groups hold fewer passages.",
        ],
    )
    whole, groups, each = figure.subplots(1, 3, width_ratios=(1.25, 1.25, 0.8))
    draw_band(whole, depth["depth"], depth, "gradient_norm", colour=_HALVES["attention"])
    _draw_fit(whole, depth, slopes)
    _draw_groups(groups, by_position)
    for axes, name in ((whole, "all tokens"), (groups, "by position")):
        axes.set_title(name, fontsize=10)
        finish(axes, y=depth.label("gradient_norm"), x="depth")
        make_logarithmic(axes)
    _draw_slopes(each, slopes)
    return figure


def draw_residual(residual: Table, *, subtitle: str) -> Figure:
    """Draw norms, share and cosine of the two paths of each residual addition, layer by layer.

    Args:
        residual: The table of paths.
        subtitle: What was measured.

    Returns:
        The figure.
    """
    halves = [half for half in _HALVES if (residual["half"] == half).any()]
    figure = figure_with_text(
        4.6 * len(halves) + 1,
        7.6,
        title="Around and through each block: the two paths of the gradient",
        subtitle=subtitle,
        caption=_CAPTION if "block" in halves else _CAPTION[:-1],
    )
    panels = figure.subplots(3, len(halves), sharex=True, sharey="row", squeeze=False)
    for place, half in enumerate(halves):
        own = residual.select(residual["half"] == half)
        _draw_half(list(panels[:, place]), own, _HALVES[half])
        panels[0, place].set_title({"mlp": "MLP"}.get(half, half), fontsize=10)
    make_logarithmic(*panels[0])
    for axes in panels[:-1].flat:
        axes.set_xlabel("")
    for axes in panels[:, 1:].flat:
        axes.set_ylabel("")
    return figure


def _draw_fit(axes: Axes, depth: Table, slopes: Table) -> None:
    slope, low, high = (float(slopes[name][0]) for name in ("slope", "slope_low", "slope_high"))
    if np.isnan(slope):
        return
    logs, places = np.log(depth["gradient_norm"]), depth["depth"]
    line = np.exp(logs.mean() - slope * (places - places.mean()))
    axes.plot(places, line, color=_INK, linewidth=1.1, linestyle="--", gid=FIT)
    text = f"slope {slope:+.4f}\u2009{slopes.units['slope']}"
    if np.isfinite(low):
        text += f"\n95 %: {low:+.4f} to {high:+.4f}"
    axes.legend(
        [sample(_INK, line="--")], [text.replace("-", "\u2212")], frameon=False, fontsize=8.5
    )


def _draw_groups(axes: Axes, table: Table) -> None:
    firsts = list(dict.fromkeys(table["position_first"].tolist()))
    for first, colour in zip(firsts, shades(len(firsts)), strict=True):
        own = table.select(table["position_first"] == first)
        draw_band(axes, own["depth"], own, "gradient_norm", colour=colour)


def _draw_slopes(axes: Axes, slopes: Table) -> None:
    """Draw the slope of all positions on top, then that of each group."""
    names = ["all", *map(range_name, slopes["position_first"][1:], slopes["position_last"][1:])]
    colours = [_INK, *shades(len(names) - 1)]
    for place, colour in enumerate(colours):
        low, slope, high = (slopes[name][place] for name in ("slope_low", "slope", "slope_high"))
        axes.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.6)
        axes.plot([slope], [place], color=colour, marker="o", markersize=5)
    axes.axvline(0, color="#777777", linewidth=0.8)
    finish(axes, y="position", x=slopes.label("slope"))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title("slope by position", fontsize=10)


def _draw_half(panels: list[Axes], table: Table, colour: str) -> None:
    norms, share, cosine = panels
    x = table["layer"]
    draw_band(norms, x, table, "direct_norm", colour="#6b7280", label="direct (around)")
    draw_band(norms, x, table, "transform_norm", colour=colour, label="transform (through)")
    finish(norms, y=table.label("direct_norm").replace("direct", "gradient"))
    norms.legend(frameon=False, fontsize=8.5)
    for axes, column, label in (
        (share, "transform_share", "transform path's share\nof both energies (0 to 1)"),
        (cosine, "cosine", "cosine of transform\nand direct path (\u22121 to 1)"),
    ):
        draw_band(axes, x, table, column, colour=colour)
        finish(axes, y=label)
    share.set_ylim(0, 1)
    cosine.axhline(0, color="#777777", linewidth=0.8)
