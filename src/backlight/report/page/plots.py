"""The page of a run that declares its figures as data: its panels as charts, then its tables."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from backlight.report.page.views import LineChart, Lines, Paragraph, Prose, Rows, Series, View
from backlight.report.plots import (
    Panel,
    dodge,
    places_of,
    plots_from_json,
    rows_of,
    series_of,
)
from backlight.runs.results import Results
from backlight.tables import Table


def views(results: Results) -> Iterator[View]:
    """List what the page shows.

    Args:
        results: The run, carried out just now or read from disk.

    Yields:
        What was found in words, the figures that the run declares in its metadata, and all its
        tables; first those that are printed.
    """
    tables, about = results.tables, results.metadata
    remarks = [Paragraph(text=remark) for remark in about["remarks"]]
    yield Prose(title="What was found", paragraphs=remarks)
    for plot in plots_from_json(about["plots"]):
        yield Lines(
            title=plot.title,
            note=_note(plot.panels),
            charts=[chart_of(panel, tables) for panel in plot.panels],
        )
    for name in dict.fromkeys([*about.get("printed", ()), *sorted(tables)]):
        yield Rows(title=f"Table: {name.replace('_', ' ')}", table=tables[name])


def chart_of(panel: Panel, tables: Mapping[str, Table]) -> LineChart:
    """Make a chart of a panel.

    Args:
        panel: What is drawn.
        tables: The tables, by name.

    Returns:
        The chart.
    """
    table = rows_of(panel, tables[panel.table])
    return LineChart(
        title=panel.title,
        x=panel.x_label or table.label(panel.x),
        y=panel.y_label or table.label(panel.y),
        series=list(_series(panel, table)),
        scales=(
            "log" if "x" in panel.log else "linear",
            "log" if "y" in panel.log else "linear",
        ),
        categories=places_of(panel, table)[1],
        levels=panel.levels,
    )


def _series(panel: Panel, table: Table) -> Iterator[Series]:
    """Make the lines of a chart; what theory says of one follows it, dashed."""
    x, names = places_of(panel, table)
    found = series_of(panel, table)
    for number, (name, rows) in enumerate(found.items()):
        own, shift = table.select(rows), dodge(number, len(found)) if names else 0.0
        ends = [
            None if column is None else own[column].astype(np.float64)
            for column in (panel.low, panel.high)
        ]
        line = Series(
            name=name,
            x=x[rows] + shift,
            y=own[panel.y].astype(np.float64),
            low=ends[0],
            high=ends[1],
            joined=panel.joined and not names,
        )
        yield line
        if panel.dashed is not None:
            told = panel.dashed.replace("_", " ")
            heights = own[panel.dashed].astype(np.float64)
            label = f"{name}: {told}" if name else told
            yield Series(name=label, x=line.x, y=heights, dashed=True)


def _note(panels: Sequence[Panel]) -> str:
    """Say what bands and dashed lines are."""
    dashed = [panel.dashed.replace("_", " ") for panel in panels if panel.dashed is not None]
    ends = any(panel.low is not None for panel in panels)
    return " ".join(
        [
            *(["Bands and bars are intervals."] if ends else []),
            *([f"Dashed: {', '.join(dict.fromkeys(dashed))}."] if dashed else []),
        ]
    )
