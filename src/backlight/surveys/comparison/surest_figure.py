"""The figure of the surest differences, with the tokens where they mattered most."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from backlight.foreign.text import plain
from backlight.report.layout import figure_with_text, panels_in
from backlight.runs.results import Results
from backlight.surveys.comparison.names import HIGHER_IN_FIRST, HIGHER_IN_SECOND
from backlight.tables import Table

COLOURS = {HIGHER_IN_FIRST: "#b5542b", HIGHER_IN_SECOND: "#2b6cb0"}
_MOST = 10
_LONGEST = 58


def surest(results: Results) -> Figure:
    """Draw what is surely higher in one run and lower in the other, the surest of each side.

    Args:
        results: A comparison in which something surely differs.

    Returns:
        The figure: a bar for each unit, as long as its effect size.
    """
    table, about = results.tables["differences"], results.metadata
    rows = np.concatenate([_largest(table, side) for side in (HIGHER_IN_FIRST, HIGHER_IN_SECOND)])
    tells = "context" in table and any(table["context"][rows])
    figure = figure_with_text(
        10.0 if tells else 7.5,
        0.25 * len(rows) + 0.8,
        title="What surely is higher in one run and lower in the other",
        subtitle="; ".join(f"{each} = {about[each]['label']}" for each in "ab"),
        caption=[
            f"The surest {_MOST} of each side (q <= {about['q']:g} among "
            f"{about['num_compared']:,}). An effect size of 1 is a difference as large as passages "
            "differ among themselves (a standard deviation)."
            + " Right of the bars: a token in guillemets where the unit mattered most."
            * tells,
        ],
        key=[
            (Patch(color=colour), f"higher in {side}: {plain(about[side]['label'])}")
            for side, colour in COLOURS.items()
        ],
    )
    (axes,) = panels_in(figure, 1, 1)
    _bars(axes, table.select(rows))
    return figure


def _largest(table: Table, side: str) -> NDArray[np.int64]:
    own = np.flatnonzero(table["higher_in"] == side)
    return own[np.argsort(-np.abs(table["t"][own]), kind="stable")[:_MOST]]


def _bars(axes: Axes, table: Table) -> None:
    places, effects = np.arange(table.num_rows)[::-1], table["effect_size"]
    axes.barh(places, effects, color=[COLOURS[str(side)] for side in table["higher_in"]])
    axes.axvline(0, color="#999999", linewidth=0.6)
    reach = float(np.nanmax(np.abs(effects)))
    axes.set_yticks(places, [name_of(table, row) for row in range(table.num_rows)], fontsize=8)
    axes.set(xlabel="effect size (a - b)", ylim=(-0.6, table.num_rows - 0.4))
    if "context" not in table:
        return
    axes.set_xlim(-1.1 * reach, 3.6 * reach)
    axes.set_xticks([tick for tick in axes.get_xticks() if abs(tick) <= 1.1 * reach])
    for place, effect, context in zip(places, effects, table["context"], strict=True):
        told = plain(str(context))
        told = told if len(told) <= _LONGEST else f"{told[: _LONGEST - 3]}..."
        axes.text(max(effect, 0.0) + 0.05 * reach, place, told, va="center", fontsize=8)


def name_of(table: Table, row: int) -> str:
    """Name a unit with its layer, and its statistic where there are several."""
    index, name, layer = int(table["index"][row]), str(table["name"][row]), table["layer"][row]
    several = len(set(table["statistic"].tolist())) > 1
    words = [name or str(table["kind"][row]), *([str(index)] if index >= 0 else [])]
    where = "" if layer != layer else f", layer {int(layer)}"
    what = f" ({table['statistic'][row]})" if several else ""
    return plain(" ".join(words)) + where + what
