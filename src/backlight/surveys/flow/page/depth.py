"""The gradient's norm along depth and by position, and what goes around and through each block."""

from collections.abc import Iterator

import numpy as np

from backlight.report.page.building import BANDS, series
from backlight.report.page.views import CellMap, Cells, LineChart, Lines, Series
from backlight.surveys.flow.drawn.grids import range_name
from backlight.surveys.flow.page.telling import slope_label, slope_sentence
from backlight.tables import Table

_HALVES = {"attention": "attention", "mlp": "MLP", "block": "block"}
_SHARES = {
    "transform_share": ("share through the branch", "transform path's share of both energies"),
    "cosine": ("cosine of both paths", "cosine (\u22121 to 1)"),
    "growth": ("growth", "norm at the input over that at the output"),
}


def depth_profile(depth: Table, slopes: Table) -> Lines:
    """Show the norm by depth with the fitted line, and the slope of each group of positions.

    Args:
        depth: The table of norms by depth.
        slopes: The slopes: of all positions, then of each group.

    Returns:
        The charts.
    """
    sentence = slope_sentence(slopes)
    return Lines(
        title="Norm of the gradient along depth",
        note=f"{sentence} Root mean square over tokens of the norm of dL/dx where the residual "
        "stream enters each layer; depth 0 is the embedding, the last depth is behind the last "
        f"layer. {BANDS} Right: the slope of the logarithm of the norm per layer walked backward, "
        "by how far a token is from the beginning of its passage; below 0 the gradient vanishes, "
        "above 0 it explodes; intervals hold 95 % of the slopes of a bootstrap over "
        "passages.".lstrip(),
        charts=[
            LineChart(
                x="depth",
                y=depth.label("gradient_norm"),
                series=[
                    series(depth, "depth", "gradient_norm", name="measured"),
                    *_fit(depth, slopes),
                ],
                scales=("linear", "log"),
            ),
            _slopes(slopes),
        ],
    )


def position_map(by_position: Table) -> CellMap:
    """Show the norm by depth and by group of positions.

    Args:
        by_position: The table of norms by depth and position.

    Returns:
        The map.
    """
    firsts, rows = np.unique(by_position["position_first"], return_inverse=True)
    lasts = [by_position["position_last"][rows == row][0] for row in range(len(firsts))]
    depths, columns = np.unique(by_position["depth"], return_inverse=True)
    values, errors = np.full((2, len(firsts), len(depths)), np.nan)
    values[rows, columns] = by_position["gradient_norm"]
    errors[rows, columns] = by_position["gradient_norm_se"]
    cells = Cells(
        values=values,
        errors=errors,
        label=by_position.label("gradient_norm"),
        scale="log",
        columns=[str(depth) for depth in depths],
    )
    return CellMap(
        title="Norm of the gradient by depth and position",
        note="Tokens in groups by how far they are from the beginning of their passage; the last "
        "groups hold fewer passages. \u00b1: standard error, clustered by passage.",
        rows=list(map(range_name, firsts, lasts)),
        row_label="position",
        column_label="depth",
        choices=[],
        maps={(): cells},
    )


def residual_paths(residual: Table) -> Lines:
    """Show norms of both paths of each half of a block, then share, cosine and growth.

    Args:
        residual: The table of paths.

    Returns:
        The charts.
    """
    parallel = bool((residual["half"] == "block").any())
    return Lines(
        title="Around and through each block: the two paths of the gradient",
        note="A block adds what its branch makes of the stream: y = x + f(x). Its gradient comes "
        "back on two paths: direct, dL/dy, around the branch, and transform, dL/dx \u2212 dL/dy, "
        "through it. Share: the transform path's square over the sum of both squares. Cosine: "
        "mean over tokens; above 0 the branch makes the gradient stronger, below 0 it works "
        f"against it. {BANDS}{_PARALLEL if parallel else ''}",
        charts=[*_norms(residual), *_shares(residual)],
    )


_PARALLEL = (
    " Parallel blocks: attention and MLP read the same stream; each is compared with the path "
    "around both of them, and \u201cblock\u201d is both branches together."
)


def _fit(depth: Table, slopes: Table) -> Iterator[Series]:
    """Draw the line through the logarithms, as the figure does."""
    slope = float(slopes["slope"][0])
    if np.isnan(slope):
        return
    logs, places = np.log(depth["gradient_norm"]), depth["depth"].astype(np.float64)
    heights = np.exp(logs.mean() - slope * (places - places.mean()))
    yield Series(name=slope_label(slopes), x=places, y=heights, dashed=True)


def _slopes(slopes: Table) -> LineChart:
    names = ["all", *map(range_name, slopes["position_first"][1:], slopes["position_last"][1:])]
    low, high = slopes["slope_low"], slopes["slope_high"]
    known = bool(np.isfinite(low).any())
    return LineChart(
        x="position",
        y=slopes.label("slope"),
        categories=names,
        series=[
            Series(
                x=np.arange(len(names), dtype=np.float64),
                y=slopes["slope"],
                low=low if known else None,
                high=high if known else None,
                joined=False,
            )
        ],
        levels={"neither vanishes nor explodes": 0.0},
    )


def _halves(residual: Table) -> Iterator[tuple[str, Table]]:
    for half, name in _HALVES.items():
        own = residual["half"] == half
        if own.any():
            yield name, residual.select(own)


def _norms(residual: Table) -> Iterator[LineChart]:
    for name, own in _halves(residual):
        yield LineChart(
            title=name,
            x="layer",
            y=own.label("direct_norm").replace("direct", "gradient"),
            series=[
                series(own, "layer", "direct_norm", name="direct (around)"),
                series(own, "layer", "transform_norm", name="transform (through)"),
            ],
            scales=("linear", "log"),
        )


def _shares(residual: Table) -> Iterator[LineChart]:
    for column, (title, label) in _SHARES.items():
        yield LineChart(
            title=title,
            x="layer",
            y=label,
            series=[series(own, "layer", column, name=name) for name, own in _halves(residual)],
            scales=("linear", "log" if column == "growth" else "linear"),
        )
