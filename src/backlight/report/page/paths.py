"""What paths add up to, as a page shows it: charts against depth, and the table."""

from collections.abc import Iterator, Mapping

import numpy as np

from backlight.report.page.views import LineChart, Lines, Rows, Series, View
from backlight.report.paths import CHANGES, LEAST, READING, RESIDUALS, kinds_of
from backlight.runs.results import Results
from backlight.tables import Table

_NOTE = (
    f"{' '.join(READING)} What the run tells of a dimension, a feature, a head or a token divides "
    "the sum along the path."
)


def path_views(results: Results) -> Iterator[View]:
    """List what the page shows of paths, if there are any.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        Charts against depth, and the table.
    """
    if "completeness" not in results.tables:
        return
    table = results.tables["completeness"]
    if table.num_rows > 1:
        charts = [
            chart
            for kind, own in kinds_of(table).items()
            for chart in (_chart(own, kind, CHANGES), _chart(own, kind, RESIDUALS))
        ]
        yield Lines(title="What paths add up to", note=_NOTE, charts=charts)
    note = "" if table.num_rows > 1 else _NOTE
    yield Rows(title="Paths", note=note, table=table)


def _chart(table: Table, kind: str, columns: Mapping[str, str]) -> LineChart:
    x, missing = table["layer"].astype(np.float64), "residual" in columns
    return LineChart(
        title=kind,
        x="layer",
        y="missing (share)" if missing else f"change ({table.units['true_change']})",
        series=[
            Series(
                name=name,
                x=x,
                y=np.maximum(table[column], LEAST) if missing else table[column],
                joined=column != "path",  # its points lie on the line of the truth, if all is well
            )
            for column, name in columns.items()
        ],
        scales=("linear", "log" if missing else "linear"),
    )
