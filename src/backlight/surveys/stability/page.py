"""What the page of a run's stability shows."""

from collections.abc import Iterator

import numpy as np

from backlight.report.page.views import LineChart, Lines, Rows, Series, View
from backlight.runs.results import Results
from backlight.tables import Table

_HOW = (
    "Halves of the run's passages, drawn at random; low and high are the range of 95 % of the "
    "splits. Passages wanted: extrapolated from the halves, for the agreement that was asked for."
)


def views(results: Results) -> Iterator[View]:
    """List what the page shows.

    Args:
        results: The results, made just now or read from disk.

    Yields:
        Agreement by layer, and the table.
    """
    layers = results.tables["layers"]
    statistics = list(dict.fromkeys(layers["statistic"].tolist()))
    if len(np.unique(layers["layer"])) > 1:
        yield Lines(
            title="How alike halves of the text are",
            note="Spearman's correlation of the halves, and the share of the largest in both.",
            charts=[
                _chart(layers.select(layers["statistic"] == name), name) for name in statistics
            ],
        )
    yield Rows(title="Layers", note=_HOW, table=layers)


def _chart(table: Table, statistic: str) -> LineChart:
    layers = table["layer"].astype(np.float64)
    return LineChart(
        title=statistic,
        x="layer",
        y="correlation, share",
        series=[
            Series(
                name=label,
                x=layers,
                y=table[name],
                low=table[f"{name}_low"],
                high=table[f"{name}_high"],
            )
            for name, label in (("half_agreement", "rank agreement"), ("half_overlap", "overlap"))
            if not np.isnan(table[name]).all()
        ],
    )
