"""The figure of the surest differences, with the tokens where they mattered most."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from backlight.foreign.text import plain
from backlight.report.layout import figure_with_text, panels_in
from backlight.runs.results import Results
from backlight.surveys.comparison.names import BETWEEN, HIGHER_IN_FIRST, HIGHER_IN_SECOND
from backlight.surveys.comparison.order import ORDER
from backlight.tables import Table

COLOURS = {HIGHER_IN_FIRST: "#b5542b", HIGHER_IN_SECOND: "#2b6cb0"}
_MOST = 10
_LONGEST = 85


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
        11.0 if tells else 7.5,
        0.25 * len(rows) + 0.8,
        title="What surely is higher in one run and lower in the other",
        subtitle="; ".join(f"{each} = {about[each]['label']}" for each in "ab"),
        caption=[
            f"The surest {_MOST} of each side, {ORDER} (q <= {about['q']:g} among "
            f"{about['num_compared']:,}). An effect size of 1 is a difference as large as passages "
            "differ among themselves (a standard deviation)."
            + " Right of the bars: tokens, in guillemets, where a unit mattered most; blank where "
            "it is not among the largest of its run." * tells,
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
    return np.flatnonzero(table["higher_in"] == side)[:_MOST]  # they are in order


def _bars(axes: Axes, table: Table) -> None:
    places, effects = np.arange(table.num_rows)[::-1], table["effect_size"]
    axes.barh(places, effects, color=[COLOURS[str(side)] for side in table["higher_in"]])
    axes.axvline(0, color="#999999", linewidth=0.6)
    reach = float(np.abs(effects[np.isfinite(effects)]).max(initial=0.0)) or 1.0
    axes.set_yticks(places, [name_of(table, row) for row in range(table.num_rows)], fontsize=8)
    axes.set(xlabel="effect size (a - b)", ylim=(-0.6, table.num_rows - 0.4))
    if "context" not in table:
        return
    axes.set_xlim(-1.1 * reach, 4.2 * reach)
    ticks = np.array(MaxNLocator(nbins=6).tick_values(-reach, reach))
    axes.set_xticks(ticks[np.abs(ticks) <= reach])  # none below the contexts
    for place, effect, context in zip(places, effects, table["context"], strict=True):
        at = max(effect, 0.0) + 0.05 * reach
        axes.text(at, place, _shortened(str(context)), va="center", fontsize=8)


def _shortened(context: str) -> str:
    """Keep as many contexts of a unit as there is room for, one at least."""
    told = ""
    if not context:
        return told
    for each in map(plain, context.split(BETWEEN)):
        longer = f"{told}    {each.strip()}" if told else each.strip()
        if len(longer) > _LONGEST:
            break
        told = longer
    return told or f"{plain(context)[:_LONGEST]}..."


def name_of(table: Table, row: int) -> str:
    """Name a unit with its layer, and its statistic where there are several."""
    index, name, layer = int(table["index"][row]), str(table["name"][row]), table["layer"][row]
    several = len(set(table["statistic"].tolist())) > 1
    words = [name or str(table["kind"][row]), *([str(index)] if index >= 0 else [])]
    where = "" if layer != layer else f", layer {int(layer)}"
    what = f" ({table['statistic'][row]})" if several else ""
    return plain(" ".join(words)) + where + what
