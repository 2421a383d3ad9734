"""What the page of a run of ``backlight layers`` shows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.report.page.building import (
    BANDS,
    chart,
    largest,
    occurrences,
    scale_of,
    series,
    shares,
    statistics,
)
from backlight.report.page.paths import path_views
from backlight.report.page.views import (
    CellMap,
    Cells,
    Choice,
    Cloud,
    LineChart,
    Lines,
    Rows,
    Statistic,
    View,
)
from backlight.report.wrong import (
    OF_WHOLE_SITES,
    SECOND_COLOUR,
    WARNING_COLUMNS,
    has_warnings,
    is_wrong,
)
from backlight.runs.results import Results
from backlight.surveys.driver.words.account import context_lines, counted_lines
from backlight.surveys.driver.words.aggregation import modes_of
from backlight.surveys.layers.sizes import sizes_of
from backlight.tables import Table

_WITH_CONTEXT = 100  # dimensions of each layer and statistic whose tokens are on the page


def views(results: Results) -> Iterator[View]:
    """List what the page shows.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The depth profile, every dimension, how large single values are (unless they are mostly
        noise), what paths add up to if there are any, and the layers as a table.
    """
    tables = results.tables
    yield _depth_profile(results)
    yield _dimensions(results)
    if "histograms" in tables:
        yield _sizes(tables["histograms"])
    yield from path_views(results)
    yield Rows(
        title="Layers",
        note="Averages over tokens and dimensions; max, top and std are over dimensions."
        + (f" {OF_WHOLE_SITES}" if has_warnings(tables["layers"]) else ""),
        table=tables["layers"],
    )


def _depth_profile(results: Results) -> Lines:
    table, modes = results.tables["layers"], modes_of(results.config)
    counted = counted_lines(results.metadata.get("text", {}))
    more = (name for name in ("norm", "mean_abs", "rms") if name not in modes and name in table)
    if "mean_probe_se" in table:
        note, last = "The last chart: how much of the errors is chance.", _chance(table)
    else:
        steady = ", and how steady their signs are" if "sign_consistency" in table else ""
        note = f"The last chart: how evenly dimensions share the quantity{steady}."
        last = _concentration(table)
    return Lines(
        title="Depth profile",
        note=" ".join(["Averages over tokens and dimensions.", *counted, BANDS, note]),
        charts=[*(chart(table, "layer", name) for name in (*modes, *more)), last],
    )


def _chance(table: Table) -> LineChart:
    """Show how much of the error of each layer's mean is the chance of random probes."""
    names = {"mean_se": "standard error", "mean_probe_se": "of it, chance of the probes"}
    lines = [series(table, "layer", column, name=name) for column, name in names.items()]
    return LineChart(
        x="layer",
        y=table.label("mean_se"),
        series=lines,
        scales=("linear", scale_of(np.concatenate([line.y for line in lines]))),
    )


def _concentration(table: Table) -> LineChart:
    curves = {
        "effective dimensions / dimensions": table["participation_ratio"] / table["num_dimensions"],
        "share of the top 1 %": table["top_share"],
    }
    if "sign_consistency" in table:
        curves["sign consistency"] = table["sign_consistency"]
    return shares(table, curves)


def _dimensions(results: Results) -> Cloud:
    tables, options = results.tables, results.config
    single = tables["dimensions"]
    names = (*modes_of(options), "mean_abs", "mean", "rms", "std", "max_abs", "sign_consistency")
    warned = WARNING_COLUMNS if has_warnings(single) else ()
    found = statistics(single, *dict.fromkeys(names), "mean_probe_se", *warned)
    marks: list[str] = []
    shown = "The five largest are named. Point at one, or walk with the arrow keys"
    contexts: Mapping[int, Any] = {}
    if "top_tokens" in tables:
        shown += "; press it to see its tokens below"
        contexts = occurrences(tables["top_tokens"], "dimension", _kept(found, options))
        marks = context_lines(results.metadata)
    return Cloud(
        title="Every dimension",
        note=" ".join([f"Each point is a dimension. {shown}. A double click zooms in.", *marks])
        + (f" {SECOND_COLOUR}" if is_wrong(single).any() else ""),
        unit="dimension",
        layers=list(found[0].values),
        statistics=found,
        occurrences=contexts,
    )


def _kept(found: Sequence[Statistic], options: Mapping[str, Any]) -> dict[int, NDArray[np.int64]]:
    """Choose the dimensions of each layer whose tokens are shown: the largest by any mode."""
    tops = [largest(each.values, _WITH_CONTEXT) for each in found if each.name in modes_of(options)]
    return {layer: np.unique([top[layer] for top in tops]) for layer in tops[0]}


def _sizes(table: Table) -> CellMap:
    """Show which share of the single values of a layer has which size, by octaves."""
    sizes = sizes_of(table)
    cells = Cells(
        values=100 * sizes.shares,
        label="share of tokens x dimensions (%)",
        scale="linear",
        columns=[str(layer) for layer in sizes.layers],
    )
    return CellMap(
        title="How large single values are",
        note="One value is one token and one dimension. Each row holds absolute values up to "
        f"its number ({table.units['upper']}), down to half of it; the lowest row holds all below.",
        rows=[f"{2.0**octave:.2g}" for octave in sizes.octaves],
        row_label="absolute value, at most",
        column_label="layer",
        choices=[Choice(label="Shown", options=["all values"])],
        maps={(0,): cells},
    )
