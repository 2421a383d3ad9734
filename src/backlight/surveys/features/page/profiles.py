"""Statistics of whole layers of features: by depth, by size, and how well they reconstruct."""

from collections.abc import Iterator, Sequence

import numpy as np

from backlight.report.page.building import chart, scale_of, shares
from backlight.report.page.views import (
    CellMap,
    Cells,
    Choice,
    LineChart,
    Lines,
    Numbers,
    Rows,
    Series,
    View,
)
from backlight.surveys.features.page.shown import Shown
from backlight.tables import Table

_CURVES = {
    "explained_variance": "explained variance",
    "explained_variance_with_first": "with first tokens",
    "dead_share": "dead features (in this batch)",
}
_LEAST_TRUSTED = 0.3  # explained variance
_MOST_STEPS = 30  # of sizes, below the largest
_BINS = 60


def depth_profile(table: Table, shown: Shown) -> Lines:
    """Show how statistics change with depth.

    Args:
        table: The table of layers.
        shown: The run.

    Returns:
        The average over features of each mode, with their spread and the largest; how evenly
        features share the quantity; the loss if it was computed.
    """
    charts = [_spread_chart(table, mode) for mode in shown.modes]
    charts.append(_shares(table))
    if "loss" in table:
        charts.append(chart(table, "layer", "loss"))
    return Lines(
        title="Depth profile",
        note="Averages over features; bands are one standard deviation over features to each side, "
        "no errors. Largest: the largest absolute value of any feature. Significant: the share of "
        "features whose mean is more than 1.96 standard errors from zero, 0.05 by chance."
        + (" Loss: with the reconstruction in place." if _is_spliced(shown) else ""),
        charts=charts,
    )


def _is_spliced(shown: Shown) -> bool:
    layers, options = shown.results.tables["layers"], shown.results.config
    return "loss" in layers and options["splice"] == "replace"


def _spread_chart(table: Table, mode: str) -> LineChart:
    layers, values = table["layer"].astype(np.float64), table[mode]
    width = table[f"{mode}_std"]
    largest = Series(name="largest (absolute)", x=layers, y=table[f"{mode}_max"], joined=False)
    average = Series(name="average", x=layers, y=values, low=values - width, high=values + width)
    return LineChart(
        x="layer",
        y=table.label(mode),
        series=[average, largest],
        scales=("linear", scale_of(values)),
    )


def _shares(table: Table) -> LineChart:
    curves = {
        "significant": table["significant_share"],
        "effective features / features": table["participation_ratio"] / table["num_dimensions"],
    }
    if "sign_consistency" in table:
        curves["sign consistency"] = table["sign_consistency"]
        curves["share of the top 1 %"] = table["top_share"]
    return shares(table, curves)


def spread(shown: Shown) -> View:
    """Show how many features of a layer have values of which size.

    Args:
        shown: The run.

    Returns:
        Histograms of a single layer, else a map of all layers.
    """
    by_mode = {mode: shown.by_layer(mode) for mode in shown.modes}
    if len(shown.layers) == 1:
        return Lines(
            title="How features are spread",
            note="How many features have a value about as large as this one.",
            charts=[
                _histogram(own[shown.layers[0]], f"{mode.replace('_', ' ')} ({shown.unit})")
                for mode, own in by_mode.items()
            ],
        )
    steps = _steps_of([values for own in by_mode.values() for values in own.values()])
    return CellMap(
        title="How features are spread",
        note="Each row holds features whose absolute value is up to its number "
        f"({shown.unit}), and above that of the row below; the lowest row holds all below but "
        "zero.",
        rows=[f"{2.0**step:.2g}" for step in steps],
        row_label="absolute value, at most",
        column_label="layer",
        choices=[Choice(label="Statistic", options=[mode.replace("_", " ") for mode in by_mode])],
        maps={
            (place,): Cells(
                values=np.stack([_shares_of(values, steps) for values in own.values()], axis=1),
                label="share of features (%)",
                scale="log",
                columns=[str(layer) for layer in shown.layers],
            )
            for place, own in enumerate(by_mode.values())
        },
    )


def _histogram(values: Numbers, label: str) -> LineChart:
    known = values[np.isfinite(values)]
    counts, edges = np.histogram(known, bins=_BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    return LineChart(
        x=label,
        y="number of features",
        series=[Series(x=middles, y=np.where(counts > 0, counts, np.nan))],
        scales=("linear", "log"),
        marks={"average": float(known.mean())} if len(known) else {},
    )


def _steps_of(each: Sequence[Numbers]) -> Numbers:
    """Choose steps of sizes, as powers of two: half octaves, or whole ones if there are many."""
    sizes = np.concatenate([_octaves(values) for values in each])
    if not len(sizes):
        return np.zeros(1)
    low, high = float(sizes.min()), float(np.ceil(sizes.max()))
    width = 0.5 if high - low <= _MOST_STEPS / 2 else 1.0
    count = min(int(np.ceil((high - low) / width)), _MOST_STEPS - 1)
    return np.linspace(high - width * count, high, count + 1)


def _octaves(values: Numbers) -> Numbers:
    """Compute the sizes of what is known and not zero, as powers of two."""
    return np.log2(np.abs(values[np.isfinite(values) & (values != 0)]))


def _shares_of(values: Numbers, steps: Numbers) -> Numbers:
    places = np.searchsorted(steps, _octaves(values))
    counts = np.bincount(places, minlength=len(steps))
    return np.where(counts > 0, 100 * counts / len(values), np.nan)


def quality(shown: Shown) -> Iterator[View]:
    """Show how well dictionaries reconstruct, by layer if there are several, and as a table.

    Args:
        shown: The run.

    Yields:
        Lines, and the table.
    """
    table = shown.results.tables["dictionaries"]
    note = (
        "Explained variance: what of the site's variance a dictionary explains on the first batch, "
        "first tokens left out; L0: how many features fire at a token. Below "
        f"{_LEAST_TRUSTED} of explained variance, results are not to be trusted."
    )
    if shown.poor:
        note += f" Poor, by that measure, in layers {', '.join(map(str, shown.poor))}."
    if table.num_rows > 1:
        yield Lines(
            title="How well the dictionaries reconstruct",
            note=note,
            charts=[_explained(table), chart(table, "layer", "l0")],
        )
    yield Rows(title="Dictionaries", note="" if table.num_rows > 1 else note, table=table)


def _explained(table: Table) -> LineChart:
    # One dictionary that explains less than nothing would hide all others.
    x = table["layer"].astype(np.float64)
    return LineChart(
        x="layer",
        y="share, shown down to -0.1",
        series=[
            Series(name=name, x=x, y=np.maximum(table[column], -0.1))
            for column, name in _CURVES.items()
        ],
        levels={"least to be trusted": _LEAST_TRUSTED},
    )
