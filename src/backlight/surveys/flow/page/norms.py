"""What each norm takes out of the gradient, and how near simpler rules come to it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.report.page.building import scale_of
from backlight.report.page.views import LineChart, Lines, Series
from backlight.surveys.flow.drawn.norms import FINAL, NormLine, norm_lines, norm_names, told_norm
from backlight.tables import Table

_PARTS = {
    "r_mean": ("removed by centring: r mean", "share of the energy"),
    "r_radial": ("removed by scaling: r radial", "share of the energy"),
    "sigma": ("\u03c3: what the norm divides by", "mean over tokens"),
    "gradient_norm": ("gradient at the norm's input", "gradient norm ({unit})"),
}
_SURROGATES = {
    "identity": "u",
    "scale": "u / \u03c3",
    "center_scale": "(u \u2212 mean u) / \u03c3",
    "projected": "u \u2212 mean u \u2212 z mean(u z)",
    "radial_only": "(u \u2212 z mean(u z)) / \u03c3",
}
_DASHED = {"sigma": "standard deviation"}
_ROUNDING = 1e-6  # from 1, up to which a cosine is one but for rounding and the norm's eps
_INTERVALS = (
    "Bands are 95 % intervals (1.96 standard errors, clustered by passage); of norms by head, the "
    "line is the mean over heads and the band goes from the least head to the largest."
)


def norm_parts(table: Table) -> Lines:
    """Show what centring and scaling remove, what norms divide by, and the gradient there.

    Args:
        table: The table of norms.

    Returns:
        The charts.
    """
    centred = table.select(table["kind"] == "layer")
    charts = [
        _chart(own, column, title=title, y=y.format(unit=table.units["gradient_norm"]))
        for column, (title, y) in _PARTS.items()
        if (own := centred if column == "r_mean" else table).num_rows
    ]
    missing = (
        "" if centred.num_rows else " r mean is 0 by construction: an RMS norm does not centre."
    )
    norms = "; ".join(f"{name}: {told_norm(table, name)}" for name in norm_names(table))
    return Lines(
        title="What norms take out of the gradient",
        note=f"{norms}. u: gain \u00d7 gradient at the norm's output; z: its normalised input. "
        "r mean and r radial: the shares of the energy of u along a constant vector and along z, "
        "which the norm removes. Dashed: what a gradient would give that has nothing to do with "
        "the norm's input; beside \u03c3, its standard deviation over tokens."
        f"{missing} {_INTERVALS}",
        charts=charts,
    )


def surrogate_lines(table: Table) -> Lines:
    """Show by how much simpler rules miss the true backward pass of norms.

    Args:
        table: The table of norms.

    Returns:
        The charts: first directions, then lengths; directions that are exact are not drawn.
    """
    away = {name: _away(table, name) for name in _SURROGATES}
    exact = [name for name, own in away.items() if _is_exact(own["away"])]
    told = f" But for rounding, the direction is exact of: {', '.join(exact)}." if exact else ""
    return Lines(
        title="Simpler rules in place of the norms' backward pass",
        note="The true gradient at the input is (u \u2212 mean u \u2212 z mean(u z)) / \u03c3; in "
        "an RMS norm mean u counts as 0. First: by how much each rule misses its direction (1 "
        f"\u2212 cosine, 0 is exact).{told} Then: its length over the true one's (1 is right). "
        f"Dashed: what chance would give. {_INTERVALS}",
        charts=[
            *(
                _chart(own, "away", title=_title(name), y="1 \u2212 cosine with the true gradient")
                for name, own in away.items()
                if name not in exact
            ),
            *(
                _chart(
                    table,
                    f"{name}_norm_ratio",
                    title=_title(name),
                    y="length over that of the true gradient",
                    levels={"exact": 1.0},
                )
                for name in _SURROGATES
            ),
        ],
    )


def _is_exact(away: NDArray[np.float64]) -> bool:
    known = away[np.isfinite(away)]
    return len(known) > 0 and bool((known <= _ROUNDING).all())


def _title(name: str) -> str:
    return f"{name.replace('_', ' ')}: {_SURROGATES[name]}"


def _away(table: Table, name: str) -> Table:
    """Tabulate how far the cosines of a rule are from 1."""
    columns = {
        **{column: table[column] for column in ("layer", "norm", "head")},
        "away": np.maximum(1 - table[f"{name}_cosine"], 0),
        "away_se": table[f"{name}_cosine_se"],
        "away_chance": 1 - table[f"{name}_cosine_chance"],
    }
    return Table(name="away", columns=columns)


def _chart(
    table: Table,
    column: str,
    *,
    title: str,
    y: str,
    levels: Mapping[str, float] | None = None,
) -> LineChart:
    """Make a chart of a statistic of all norms, with chance as a level where it is one number."""
    final, lines = _final(table), list(norm_lines(table, column))
    dashed = _dashed(table, column, lines)
    heights = {height for own in dashed.values() for height in own.round(12).tolist()}
    found, is_one = dict(levels or {}), len(heights) == 1
    if is_one:
        found["chance"] = heights.pop()
    series: list[Series] = []
    for line in lines:
        x = np.array([final]) if line.name == FINAL else line.x
        series.append(_solid(line, x))
        if dashed and not is_one:
            name = f"{line.name}: {_DASHED.get(column, 'chance')}"
            series.append(Series(name=name, x=x, y=dashed[line.name], dashed=True))
    return LineChart(
        title=title,
        x=f"layer ({final:.0f}: {FINAL})" if (table["norm"] == FINAL).any() else "layer",
        y=y,
        series=series,
        scales=("linear", scale_of(np.concatenate([line.y for line in series]))),
        levels=found,
    )


def _solid(line: NormLine, x: NDArray[np.float64]) -> Series:
    known = bool(np.isfinite(line.high).any())
    return Series(
        name=line.name,
        x=x,
        y=line.values,
        low=line.low if known else None,
        high=line.high if known else None,
    )


def _dashed(table: Table, column: str, lines: Sequence[NormLine]) -> dict[str, NDArray[np.float64]]:
    """Find what is drawn dashed beside each norm: chance, or the standard deviation of sigma."""
    if column == "sigma":
        return {line.name: line.values for line in norm_lines(table, "sigma_std")}
    return {line.name: line.chance for line in lines if line.chance is not None}


def _final(table: Table) -> float:
    """Choose the place of the final norm: that of the layer behind the last."""
    layers = table["layer"][np.isfinite(table["layer"])]
    return float(layers.max()) + 1 if len(layers) else 0.0
