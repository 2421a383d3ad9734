"""Clouds of gradient vectors, one for each prompt: their components, shapes and angles."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.models.sites import kind_of, layer_of
from backlight.report.page.views import (
    CellMap,
    Cells,
    Choice,
    LineChart,
    Lines,
    Numbers,
    Series,
    View,
)
from backlight.surveys.tokens.page.points import points_of
from backlight.surveys.tokens.shown import Shown, Target, choose_targets, find_targets
from backlight.tables import Table

_MOST = 6  # lines in a chart, which can be told apart by their colours
_SHAPES = {
    "effective_rank": "effective rank (directions)",
    "mean_cosine": "mean cosine",
    "pc1": "share of PC1 (%)",
}
_LEVELS = {"90 %": 90.0, "95 %": 95.0}
_NEARLY_ALL = 99.9  # per cent of the variance, where lines end
_ABSENT = "no such token in one of the two prompts, or no gradient"


def cloud_views(shown: Shown) -> Iterator[View]:
    """Show the gradient vectors of single prompts, at the places where they were kept.

    Args:
        shown: The run.

    Yields:
        Each prompt as a point; then, of vectors that differ, the shape of their cloud by layer,
        what its components explain, and the angles between them. Nothing of vectors that are zero
        by causality.
    """
    alive = [target for target in find_targets(shown) if not target.is_structural]
    shaped = [target for target in alive if target.has_shape]
    if alive:
        yield points_of(shown, alive)
    if shaped:
        yield from _shapes(shown)
        yield from _explained(shaped)
        yield _cosines(shown, [each for row in choose_targets(shaped) for each in row])


def _shapes(shown: Shown) -> Iterator[Lines]:
    table = shown.geometry.select(~np.isnan(shown.geometry["layer"]))
    kinds = np.array([kind_of(str(site)) for site in table["site"]])
    for kind in dict.fromkeys(kinds.tolist()):
        own = table.select((kinds == kind) & np.isfinite(table["pc1"]))
        if len(np.unique(own["layer"])) > 1:
            yield Lines(
                title=f"Shape of the cloud of gradient vectors, by layer: {kind}",
                note="Of the gradient vectors of all prompts at one layer and position. Effective "
                "rank: how many directions they use, at most "
                f"{shown.prompts.num_rows - 1:,} with so many prompts. Mean cosine: 1 if all point "
                "the same way, about 0 if they point anywhere. PC1: how much of their variance "
                "lies along a single direction. Layers that are zero by causality are left out.",
                charts=[_shape(own, column, label) for column, label in _SHAPES.items()],
            )


def _shape(table: Table, column: str, label: str) -> LineChart:
    values = table[column] * (100 if column == "pc1" else 1)
    series: list[Series] = []
    for position in dict.fromkeys(table["position"].tolist()):
        own = table["position"] == position
        layers = table["layer"][own].astype(np.float64)
        series.append(Series(name=str(position), x=layers, y=values[own].astype(np.float64)))
    return LineChart(x="layer", y=label, series=series)


def _explained(targets: list[Target]) -> Iterator[Lines]:
    by_kind: dict[str, dict[str, list[Target]]] = {}
    for target in targets:
        by_kind.setdefault(kind_of(target.site), {}).setdefault(target.position, []).append(target)
    for kind, by_position in by_kind.items():
        yield Lines(
            title=f"What the principal components explain: {kind}",
            note="Of the variance of the gradient vectors at one position, the share that the "
            f"first components explain together, up to {_NEARLY_ALL} %, in {_MOST} layers at most, "
            "evenly spread. The steeper a line begins, the fewer directions the gradients use.",
            charts=[_sums(position, own) for position, own in by_position.items()],
        )


def _sums(position: str, targets: list[Target]) -> LineChart:
    places = np.linspace(0, len(targets) - 1, min(_MOST, len(targets))).round().astype(int)
    series: list[Series] = []
    for target in (targets[place] for place in places):
        shares = 100 * np.cumsum(target.array("explained").astype(np.float64))
        shares = shares[: int((shares >= _NEARLY_ALL).argmax()) + 1]
        numbers = np.arange(1, len(shares) + 1, dtype=np.float64)
        layer = layer_of(target.site)
        name = target.site if layer is None else f"layer {layer}"
        series.append(Series(name=name, x=numbers, y=shares))
    return LineChart(
        title=position,
        x="number of components",
        y="explained together (% of variance)",
        series=series,
        levels=_LEVELS,
    )


def _cosines(shown: Shown, targets: list[Target]) -> CellMap:
    """Show the cosine between each two prompts, sorted by what colours them, at some places."""
    by = shown.color_by or "loss"
    count = max(int(target.prompts[: len(target.array("cosines"))].max()) + 1 for target in targets)
    order = np.argsort(shown.prompts[by][:count], kind="stable")
    what = shown.prompts.label(by).removesuffix(" value")
    names = [f"{prompt}: {_told(shown.prompts, by, prompt)}" for prompt in order.tolist()]
    return CellMap(
        title="Angles between the gradients of each two prompts",
        note=f"Row and column are prompts, sorted by {what}, which follows their number. The "
        "cosine is 1 where both gradients point the same way, 0 where they are at right angles, -1 "
        "where they are opposite. Bright blocks along the diagonal: neighbours in this order ask "
        "for the same change of the vector.",
        rows=names,
        row_label="prompt",
        column_label="prompt",
        choices=[Choice(label="Place", options=[target.name for target in targets])],
        maps={(place,): _angles(each, order, names) for place, each in enumerate(targets)},
        reasons=[_ABSENT],
    )


def _told(prompts: Table, column: str, prompt: int) -> str:
    """Write by what a prompt is sorted: its answer, a word, or a number."""
    value = prompts["answer" if column == "answer_value" else column][prompt]
    return f"{value:.4g}" if isinstance(value, float) else str(value).strip()


def _angles(target: Target, order: NDArray[np.int64], names: list[str]) -> Cells:
    cosines = target.array("cosines").astype(np.float64)
    owners = target.prompts[: len(cosines)]
    whole: Numbers = np.full((len(order), len(order)), np.nan)
    whole[np.ix_(owners, owners)] = cosines
    values = whole[np.ix_(order, order)]
    absent = np.isnan(values)
    return Cells(
        values=values,
        label="cosine",
        scale="linear",
        columns=names,
        marks=absent.astype(np.int64) if absent.any() else None,
    )
