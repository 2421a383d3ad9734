"""What each norm takes out of the gradient, and how near simpler rules come to it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from backlight.report.layout import figure_with_text
from backlight.report.lines import BANDS, fill_band, finish, sample, write_instead
from backlight.report.scales import make_logarithmic
from backlight.surveys.flow.drawn.norms import FINAL, behind, norm_lines, norm_names, told_norm
from backlight.tables import Column, Table

CHANCE = "chance"
"""The ``gid`` of the lines of what chance would give."""

_COLOURS = {
    "norm1": "#2b6cb0",
    "norm1_post": "#63b3ed",
    "norm2": "#b5542b",
    "norm2_post": "#f0a36b",
    "attn.q_norm": "#2f855a",
    "attn.k_norm": "#86c79a",
    FINAL: "#2b2f38",
}
_OTHER = "#9467bd"
_LEAST = 1e-3  # of a value, where a band that reaches zero ends
_MANY = 40  # layers, above which points are not marked
_SURROGATES = {
    "identity": "u",
    "scale": "u / \u03c3",
    "center_scale": "(u \u2212 mean u) / \u03c3",
    "projected": "u \u2212 mean u \u2212 z mean(u z)",
    "radial_only": "(u \u2212 z mean(u z)) / \u03c3",
}

_PARTS = {
    "r_mean": "r_mean: share\nremoved by centring",
    "r_radial": "r_radial: share\nremoved by scaling",
    "sigma": "\u03c3: mean over tokens\n(dashed: standard deviation)",
    "gradient_norm": "gradient norm at\nthe norm's input ({unit})",
}
_ROUNDING = 1e-6  # from 1, up to which a cosine is one but for rounding and the norm's eps
_CAPTION = (
    "u: gain \u00d7 gradient at the norm's output; z: its normalised input; \u03c3: what the "
    "input is divided by. The true gradient at the input is "
    "(u \u2212 mean u \u2212 z mean(u z)) / \u03c3; in an RMS norm mean u counts as 0. "
    "r_mean and r_radial: the shares of the energy of u along a constant vector and along z, "
    "which the norm removes (ratios of means over tokens).",
    "Lower rows: simpler rules in place of the true backward pass; by how much they miss its "
    "direction (0 is exact), and their length (1 is right). Dotted: what a gradient would "
    "give that has nothing to do with the norm's input.",
    BANDS,
    "Norms by head: mean over heads; the band goes from the least head to the largest.",
)


def draw_norms(table: Table, *, subtitle: str) -> Figure:
    """Draw the parts of the gradient at every norm, and the surrogates of its backward pass.

    Args:
        table: The table of norms.
        subtitle: What was measured.

    Returns:
        The figure.
    """
    figure = figure_with_text(
        15.5,
        8.6,
        title="What norms do to the gradient",
        subtitle=subtitle,
        caption=_CAPTION if np.isfinite(table["head"]).any() else _CAPTION[:-1],
    )
    parts, cosines, ratios = map(list, figure.subplots(3, len(_SURROGATES)))
    _draw_parts(parts, table)
    _draw_key(parts[-1], table)
    for place, (name, formula) in enumerate(_SURROGATES.items()):
        cosines[place].set_title(f"{name}\n{formula}", fontsize=9, parse_math=False)
        _draw_cosines(cosines[place], table, name)
        _draw_lines(ratios[place], table, f"{name}_norm_ratio")
        ratios[place].axhline(1, color="#777777", linewidth=0.8)
        finish(ratios[place], y="")
    cosines[0].set_ylabel("1 \u2212 cosine with\nthe true gradient")
    ratios[0].set_ylabel("length over that of\nthe true gradient")
    for axes in [*parts[:-1], *cosines, *ratios]:
        if axes.lines:
            _mark_layers(axes, table)
    for row in (cosines, ratios):
        _share([axes for axes in row if axes.lines])
    return figure


def _draw_parts(panels: Sequence[Axes], table: Table) -> None:
    for axes, (column, label) in zip(panels, _PARTS.items(), strict=False):
        if column == "r_mean" and not (table["kind"] == "layer").any():
            write_instead(axes, "0 by construction:\nan RMS norm does not centre")
            axes.set_ylabel(label)
            continue
        centred = table.select(table["kind"] == "layer") if column == "r_mean" else table
        _draw_lines(axes, centred, column)
        if column == "sigma":
            _draw_lines(axes, table, "sigma_std", is_plain=True)
        finish(axes, y=label.format(unit=table.units["gradient_norm"]), x="")
        make_logarithmic(axes)


def _draw_cosines(axes: Axes, table: Table, name: str) -> None:
    """Draw how far cosines are from 1, or write that they are not."""
    away = 1 - table[f"{name}_cosine"]
    if not np.nanmax(away, initial=0.0) > _ROUNDING:
        write_instead(axes, "0 but for rounding:\nthe direction is exact")
        return
    columns = {
        **{column: table[column] for column in ("layer", "norm", "head")},
        "away": np.maximum(away, 0),
        "away_se": table[f"{name}_cosine_se"],
        "away_chance": 1 - table[f"{name}_cosine_chance"],
    }
    _draw_lines(axes, Table(name="away", columns=columns), "away")
    finish(axes, y="", x="")


def _share(panels: Sequence[Axes]) -> None:
    """Put panels on one logarithmic scale."""
    make_logarithmic(*panels)
    for axes in panels:
        low = min(each.get_ylim()[0] for each in panels)
        axes.set_ylim(low, max(each.get_ylim()[1] for each in panels))


def _draw_key(axes: Axes, table: Table) -> None:
    """Draw a legend of which colour is which norm."""
    axes.set_axis_off()
    entries = [_entry(table, name) for name in norm_names(table)]
    entries.append((sample("#777777", line=":"), "chance"))
    handles, labels = zip(*entries, strict=True)
    axes.legend(handles, labels, loc="center", frameon=False, fontsize=8.5)


def _entry(table: Table, name: str) -> tuple[Line2D, str]:
    marker = "D" if name == FINAL else "o"
    return sample(_COLOURS.get(name, _OTHER), marker), f"{name}\n{told_norm(table, name)}"


def _draw_lines(axes: Axes, table: Table, column: str, *, is_plain: bool = False) -> None:
    """Draw a statistic of all norms with bands, and dotted what chance would give.

    Bands are of 95 %; of norms of single heads, from the least head to the largest. A plain line is
    dashed and has neither.
    """
    for line in norm_lines(table, column):
        colour, x = _COLOURS.get(line.name, _OTHER), line.x
        if is_plain:
            marker = "_" if len(x) < 3 else ""
            axes.plot(x, line.values, color=colour, marker=marker, linewidth=0.9, linestyle="--")
            continue
        marker = "D" if line.name == FINAL else "o" if len(x) <= _MANY else ""
        axes.plot(x, line.values, color=colour, marker=marker, markersize=3, linewidth=1.2)
        # Zero has no place on a logarithmic axis: a band that reaches it would vanish.
        above = np.where(line.values > 0, np.maximum(line.low, _LEAST * line.values), line.low)
        fill_band(axes, x, above, line.high, colour=colour)
        if line.chance is not None:
            _draw_chance(axes, x, line.chance, colour)


def _mark_layers(axes: Axes, table: Table) -> None:
    """Number the layers, and name the place of the final norm behind them."""
    layers = table["layer"][np.isfinite(table["layer"])]
    ticks: list[float] = []
    if len(layers):
        locator = MaxNLocator(nbins=5, integer=True, min_n_ticks=1)
        found = locator.tick_values(float(layers.min()), float(layers.max()))
        ticks = [tick for tick in found if tick in range(int(layers.min()), int(layers.max()) + 1)]
    names = [f"{tick:.0f}" for tick in ticks]
    if (table["norm"] == FINAL).any():
        ticks, names = [*ticks, behind(table)], [*names, "final"]
    axes.set_xticks(ticks, names)
    ends = [*layers, *ticks]
    edge = max(0.5, 0.05 * np.ptp(ends))
    axes.set_xlim(min(ends) - edge, max(ends) + edge)


def _draw_chance(axes: Axes, x: Column, levels: Column, colour: str) -> None:
    if len(x) == 1:
        x, levels = x[0] + np.array([-0.4, 0.4]), np.repeat(levels, 2)
    axes.plot(x, levels, color=colour, linewidth=1, linestyle=":", gid=CHANCE)
