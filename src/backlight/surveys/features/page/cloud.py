"""Every feature of every layer as a point, with the tokens where the largest mattered most."""

from collections.abc import Iterator, Sequence

import numpy as np

from backlight.report.page.building import occurrences
from backlight.report.page.views import Cloud
from backlight.report.wrong import COLUMN, SECOND_COLOUR
from backlight.surveys.driver.words.account import context_lines, counted_lines
from backlight.surveys.features.page.shown import Shown
from backlight.tables import Table

_MOST_FEATURES, _MOST_CONTEXTS = 200, 5  # of each layer, and of each of its features
_NEURONPEDIA = "https://www.neuronpedia.org/"


def every_feature(shown: Shown, statistics: Sequence[str] | None) -> Cloud:
    """Show every feature of every layer.

    Args:
        shown: The run.
        statistics: What is shown besides the first mode and its error; None for all, or for none
            if there are very many features.

    Returns:
        The points.

    Raises:
        ConfigError: If the run has no such statistic.
    """
    is_brief = statistics is None and shown.are_many
    table = shown.results.tables["top_features"]
    return Cloud(
        title="Every feature",
        note=" ".join(_note(shown, is_brief=is_brief)),
        unit="feature",
        layers=shown.layers,
        statistics=shown.statistics(() if is_brief else statistics),
        occurrences=occurrences(_kept(shown.results.tables["top_tokens"]), "feature"),
        links=_links(table),
    )


def _note(shown: Shown, *, is_brief: bool) -> Iterator[str]:
    yield (
        f"Each point is a feature, {shown.averaged}; the five largest are named. Point at one, or "
        "walk with the arrow keys; press it to see its tokens below. A double click zooms in."
    )
    yield (
        "Where few points are in view, bars are 95 % intervals (1.96 standard errors, clustered by "
        "passage)."
    )
    metadata = shown.results.metadata
    yield from (*counted_lines(metadata.get("text", {})), *context_lines(metadata))
    found = shown.results.statistics.items()
    if not is_brief and any((each == 1).any() for name, each in found if name.endswith(COLUMN)):
        yield SECOND_COLOUR
    if shown.results.config["active_only"]:
        yield "A feature that never fired has no number."
    if shown.transformed:
        yield f"Numbers are before those that are {shown.transformed}, which can be chosen too."
    if is_brief:
        yield (
            "This page shows one statistic of so many features; the others are in "
            "feature_statistics.npz, and `backlight open RUN --statistics mean,frequency` "
            "puts them on the page."
        )


def _kept(table: Table) -> Table:
    """Keep the first features of each layer, which are the largest, and few contexts of each."""
    kept = table["rank"] <= _MOST_CONTEXTS
    for layer in np.unique(table["layer"]):
        own = table["layer"] == layer
        features = list(dict.fromkeys(table["feature"][own].tolist()))[:_MOST_FEATURES]
        kept &= ~own | np.isin(table["feature"], features)
    return table.select(kept)


def _links(table: Table) -> dict[int, dict[int, str]]:
    found: dict[int, dict[int, str]] = {}
    columns = (table[name].tolist() for name in ("layer", "feature", "neuronpedia"))
    for layer, feature, link in zip(*columns, strict=True):
        if str(link).startswith(_NEURONPEDIA):
            found.setdefault(layer, {})[feature] = str(link)
    return found
