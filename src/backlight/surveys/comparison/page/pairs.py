"""What the page of a comparison shows."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from backlight.report.page.views import (
    Choice,
    Colouring,
    LineChart,
    Lines,
    Places,
    Rows,
    Scatter,
    Series,
    View,
)
from backlight.runs.results import Results
from backlight.surveys.comparison.names import HIGHER_IN_FIRST, HIGHER_IN_SECOND
from backlight.surveys.comparison.order import ORDER
from backlight.surveys.comparison.page.series import series_views
from backlight.tables import Table

_HOW = (
    f"Of each layer the surest are listed, {ORDER}; every unit is in the arrays of the run. A "
    "difference is sure if among all such differences the expected share of false ones is at most "
    "the rate."
)
_RANKINGS = {
    "rankings": "What lists of features have in common",
    "ranking": "Features of the first run as other tools list them",
}
_WORDS = {HIGHER_IN_FIRST: "higher in a", HIGHER_IN_SECOND: "higher in b"}


def views(results: Results) -> Iterator[View]:
    """List what the page shows.

    Args:
        results: The comparison, made just now or read from disk.

    Yields:
        Both runs' numbers against each other, the layers, and both tables.
    """
    layers, differences = results.tables["layers"], results.tables["differences"]
    if "moves" in results.tables:
        yield from series_views(results)
    else:
        yield _scatter(differences)
        yield from _by_layer(layers)
    yield Rows(title="Layers", table=layers)
    yield Rows(title="The surest differences", note=_HOW, table=differences)
    for name, title in _RANKINGS.items():
        if name in results.tables:
            yield Rows(title=title, table=results.tables[name])


def _scatter(table: Table) -> Scatter:
    statistics = list(dict.fromkeys(table["statistic"].tolist()))
    planes: dict[tuple[int, ...], Places] = {}
    for place, statistic in enumerate(statistics):
        own = np.flatnonzero(table["statistic"] == statistic)
        planes[(place,)] = Places(
            x=table["b"][own],
            y=table["a"][own],
            x_label=table.label("b"),
            y_label=table.label("a"),
            points=own,
        )
    return Scatter(
        title="Both runs, unit by unit",
        note="Each point is a unit among the surest of its layer. On the diagonal both runs agree.",
        texts=[_told(table, row) for row in range(table.num_rows)],
        choices=[Choice(label="Statistic", options=statistics)],
        planes=planes,
        colourings=[
            Colouring(
                label="difference",
                values=[_WORDS.get(str(each), "not sure") for each in table["higher_in"]],
            ),
            Colouring(label="t", values=table["t"].tolist()),
        ],
    )


def _told(table: Table, row: int) -> str:
    index, name, layer = int(table["index"][row]), table["name"][row], table["layer"][row]
    which = " ".join([*([str(name)] if name else []), *([str(index)] if index >= 0 else [])])
    where = "" if layer != layer else f" of layer {int(layer)}"
    return f"{table['kind'][row]} {which}{where}"


def _by_layer(layers: Table) -> Iterator[Lines]:
    """Show how many differ by layer, for every kind and statistic of several layers."""
    rows = range(layers.num_rows)
    by_kind = groupby(rows, key=lambda row: layers["kind"][row])
    for kind, own in by_kind:
        kept = layers.select(np.array(list(own)))
        statistics = list(dict.fromkeys(kept["statistic"].tolist()))
        if len(np.unique(kept["layer"])) < 2:
            continue
        yield Lines(
            title=f"How much differs: {kind}",
            note="Of the units compared, the share that surely differs, and how ranks agree.",
            charts=[_chart(kept.select(kept["statistic"] == name), name) for name in statistics],
        )


def _chart(table: Table, statistic: str) -> LineChart:
    counts = np.maximum(table["num_compared"], 1)
    layers = table["layer"].astype(np.float64)
    return LineChart(
        title=statistic,
        x="layer",
        y="share, correlation",
        series=[
            Series(name="surely higher in a", x=layers, y=table["num_higher_a"] / counts),
            Series(name="surely higher in b", x=layers, y=table["num_higher_b"] / counts),
            Series(name="rank agreement", x=layers, y=table["rank_agreement"], dashed=True),
        ],
    )
