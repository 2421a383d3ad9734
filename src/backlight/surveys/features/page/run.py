"""What the page of a run of ``backlight sae`` shows."""

from collections.abc import Iterator, Sequence

import numpy as np

from backlight.report.page.paths import path_views
from backlight.report.page.views import Rows, View
from backlight.report.wrong import COLUMNS_TOLD, WARNING_COLUMNS, has_warnings
from backlight.runs.results import Results
from backlight.surveys.features.page.cloud import every_feature
from backlight.surveys.features.page.profiles import depth_profile, quality, spread
from backlight.surveys.features.page.shown import Shown
from backlight.tables import Table

_MANY_LAYERS = 8
_MOST_RANK = 10  # of a layer's largest features in the table of all layers, if there are many


def views(results: Results, statistics: Sequence[str] | None = None) -> Iterator[View]:
    """List what the page shows.

    Args:
        results: The run, measured just now or read from disk.
        statistics: Which numbers of single features are shown besides those of the run's first
            mode, such as ``frequency``; by default all, or none if there are very many features.

    Yields:
        The depth profile if there are several layers; every feature; how values are spread; how
        well the dictionaries reconstruct; what paths add up to if there are any; then the tables.

    Raises:
        ConfigError: If the run has no such statistic.
    """
    shown = Shown.of(results)
    tables = results.tables
    if len(shown.layers) > 1:
        yield depth_profile(tables["layers"], shown)
    yield every_feature(shown, statistics)
    yield spread(shown)
    yield from quality(shown)
    yield from path_views(results)
    yield _largest(tables["top_features"], shown)
    yield Rows(
        title="Layers",
        note="For each statistic: the average over features, half of whose standard errors are "
        "below the one told (se median), the largest absolute value, the feature that has it, and "
        "the standard deviation over features. Significant share: of features whose mean is more "
        "than 1.96 standard errors from zero, 0.05 by chance.",
        table=tables["layers"],
    )


def _largest(table: Table, shown: Shown) -> Rows:
    """Tabulate the features of the largest values, with the token where each mattered most."""
    ranks = np.min([table[f"rank_{mode}"] for mode in shown.modes], axis=0)
    most = min(
        _MOST_RANK if len(shown.layers) > _MANY_LAYERS else len(ranks), max(ranks, default=0)
    )
    order = np.lexsort((table[f"rank_{shown.modes[0]}"], table["layer"]))
    order = order[ranks[order] <= most]
    columns = {"layer": "layer", "feature": "feature"}
    for name in ("mean", "mean_abs", "rms"):
        if name in table:
            columns[name] = table.label(name)
        if f"{name}_se" in table:
            columns[f"{name}_se"] = "± se"
    columns |= {"frequency": "fires at (share)", "decoder_norm": "decoder norm"}
    if has_warnings(table):
        columns |= {name: table.label(name) for name in WARNING_COLUMNS}
    columns["context"] = "where it mattered most"
    return Rows(
        title="Largest features",
        note=f"The {most:,} largest of each layer by {' and by '.join(map(_words, shown.modes))}, "
        f"{shown.averaged}. In guillemets: the token at which the feature mattered most."
        + (f" {COLUMNS_TOLD}" if has_warnings(table) else ""),
        table=Table(
            name=table.name,
            columns={name: column[order] for name, column in table.items()},
            units=table.units,
        ),
        columns=columns,
    )


def _words(mode: str) -> str:
    return mode.replace("_", " ")
