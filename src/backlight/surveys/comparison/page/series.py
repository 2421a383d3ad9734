"""What the page of a series of runs shows before its tables."""

from collections.abc import Iterator, Sequence

import numpy as np

from backlight.report.page.views import LineChart, Lines, Rows, Series, View
from backlight.runs.results import Results
from backlight.tables import Table

_PANELS = (
    ("median", "How the statistic moves", "The median over the units of each layer, run by run."),
    ("differ", "How much surely differs", "The share of the units of each layer, run by run."),
)


def series_views(results: Results) -> Iterator[View]:
    """List how the statistic of each layer moves, and how much of it surely differs.

    Args:
        results: A series of comparisons.

    Yields:
        Charts with a line for each layer, and the table behind them.
    """
    table = results.tables["moves"]
    runs = [str(each["label"]) for each in results.metadata["series"]]
    groups = list(dict.fromkeys(zip(table["kind"], table["statistic"], strict=True)))
    for column, title, note in _PANELS:
        yield Lines(
            title=title,
            note=note,
            charts=[
                _chart(
                    table.select((table["kind"] == kind) & (table["statistic"] == statistic)),
                    column,
                    f"{kind}: {statistic}",
                    runs,
                )
                for kind, statistic in groups
            ],
        )
    yield Rows(title="How the statistic moves, by run and layer", table=table)


def _chart(table: Table, column: str, title: str, runs: Sequence[str]) -> LineChart:
    layers = np.nan_to_num(table["layer"], nan=-1.0)
    return LineChart(
        title=title,
        x="run",
        y=table.label("median") if column == "median" else "share",
        categories=runs,
        series=[
            Series(
                name=f"layer {int(layer)}" if layer >= 0 else "",
                x=table["number"][layers == layer].astype(np.float64),
                y=table[column][layers == layer].astype(np.float64),
            )
            for layer in np.unique(layers)
        ],
    )
