"""Tables of the softmax's Jacobian: against the width, against the scale, and examples."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.decompose.softmax import softmax_jacobian
from backlight.labs.frame.intervals import estimate
from backlight.labs.softmax_scale.options import SoftmaxScaleConfig
from backlight.labs.softmax_scale.theory import gap_density, median_gap, peaked
from backlight.tables import Column, Table

SCALINGS = {"with 1/sqrt(d)": True, "without": False}
"""Whether scores are scaled, by what that is called."""

SCALES = np.geomspace(0.1, 300, 22)
"""Scales of independent normal scores at which norms are measured."""

MEASURED = (
    "norm",
    "log_norm_median",
    "dead",
    "score_gradient",
    "query_gradient",
    "query_gradient_median",
    "outside",
)
"""What is measured at each width, by the names of columns."""

DEAD = 1e-3
"""A Jacobian of this norm passes on next to nothing."""

_PEAKS = np.arange(0, 16, 0.5)
_DOCUMENT = {2.0: "0.84 0.08 0.08", 10.0: "0.9999 0.00005 0.00005"}

Arrays = Mapping[str, NDArray[np.float64]]
"""What a trial gave, by name."""


def scale_tables(config: SoftmaxScaleConfig, found: Sequence[Arrays]) -> dict[str, Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What each number of keys and each of its seeds gave, in this order.

    Returns:
        ``exact`` (the examples of the document), ``slopes`` (against the width), ``widths``,
        ``scales`` and ``peaks``, by name.
    """
    tables = (
        _exact(),
        _slopes(config, found),
        _widths(config, found),
        _scales(config, found),
        _peaks(),
    )
    return {table.name: table for table in tables}


def _exact() -> Table:
    """Set what the document says beside what is so."""
    rows: list[dict[str, str | float]] = []
    for score, said in _DOCUMENT.items():
        weights, norm = peaked(score)
        rows.append(
            {
                "scores": f"[{score:g}, 0, 0]",
                "document": said,
                "softmax": " ".join(f"{weight:.5g}" for weight in weights.tolist()),
                "theory_3_p1_p2": (3 * weights[0] * weights[1]).item(),
                "jacobian_norm": norm,
                "jacobian_trace": softmax_jacobian(weights).trace().item(),
            }
        )
    return Table(
        name="exact", columns={name: np.array([row[name] for row in rows]) for name in rows[0]}
    )


def _slopes(config: SoftmaxScaleConfig, found: Sequence[Arrays]) -> Table:
    """Fit slopes against the width for each seed, from the width that was asked for."""
    widths = np.array(config.widths, dtype=np.float64)
    far = widths >= min(config.slope_from, np.sort(widths)[-2:].min())
    rows: list[dict[str, str | float]] = []
    means = np.log(_shaped(config, found, "norm"))
    medians = _shaped(config, found, "log_norm_median")
    by_scale = np.array([trial["by_scale"] for trial in found])
    by_scale = by_scale.reshape(len(config.num_keys), config.seeds, -1).mean(axis=1)
    for index, keys in enumerate(config.num_keys):
        for number, scaling in enumerate(SCALINGS):
            gap, scaled = median_gap(keys), SCALINGS[scaling]
            # Independent normal scores of scale sqrt(d), as far as d is from infinity.
            logs = np.interp(np.log(widths[far]) / 2, np.log(SCALES), np.log(by_scale[index]))
            here = float(np.polyfit(np.log(widths[far]), logs, 1)[0])
            laws = {
                "ln mean / ln d": (means, np.log(widths), -0.5, here),
                "median ln / sqrt d": (medians, np.sqrt(widths), -gap, np.nan),
            }
            for law, (values, x, limit, theory) in laws.items():
                each = values[index, :, far, number].T
                slope = estimate(np.array([np.polyfit(x[far], row, 1)[0] for row in each]))
                rows.append(
                    {
                        "keys": keys,
                        "scores": scaling,
                        "slope_of": law,
                        "limit": 0.0 if scaled else limit,
                        "theory": np.nan if scaled else theory,
                        "slope": slope.mean,
                        "slope_low": slope.low,
                        "slope_high": slope.high,
                    }
                )
    return Table(
        name="slopes", columns={name: np.array([row[name] for row in rows]) for name in rows[0]}
    )


def _widths(config: SoftmaxScaleConfig, found: Sequence[Arrays]) -> Table:
    """Average over seeds, for each number of keys, scaling and width."""
    count = (len(config.num_keys), len(SCALINGS), len(config.widths))
    keys, scalings, widths = np.meshgrid(
        config.num_keys, list(SCALINGS), config.widths, indexing="ij"
    )
    columns: dict[str, Column] = {
        "keys": keys.ravel(),
        "scores": scalings.ravel(),
        "width": widths.ravel(),
    }
    for name in MEASURED:
        values = _shaped(config, found, name).transpose(0, 3, 2, 1).reshape(np.prod(count), -1)
        over_seeds = [estimate(row) for row in values]
        columns[name] = np.array([value.mean for value in over_seeds])
        if name != "outside":
            columns[f"{name}_low"] = np.array([value.low for value in over_seeds])
            columns[f"{name}_high"] = np.array([value.high for value in over_seeds])
    density = np.array([gap_density(number) for number in config.num_keys])
    gap = np.array([median_gap(number) for number in config.num_keys])
    shown, root = columns["scores"] == "without", np.sqrt(columns["width"])
    per_row = np.repeat(np.arange(len(density)), count[1] * count[2])
    limit = np.where(root > 2 * density[per_row], density[per_row] / root, np.nan)
    columns["theory"] = np.where(shown, limit, np.nan)
    far = shown & ~np.isnan(limit)
    columns["theory_median"] = np.where(far, np.log(2) - gap[per_row] * root, np.nan)
    return Table(name="widths", columns=columns)


def _scales(config: SoftmaxScaleConfig, found: Sequence[Arrays]) -> Table:
    """Average over seeds, for each number of keys and scale of independent scores."""
    norms = np.array([trial["by_scale"] for trial in found])
    norms = norms.reshape(len(config.num_keys), config.seeds, -1)
    over_seeds = [estimate(values) for rows in norms for values in rows.T]
    limits: list[Column] = []
    for keys in config.num_keys:
        tail = gap_density(keys) / SCALES
        edges = [SCALES < 0.3, 4 * gap_density(keys) < SCALES]
        limits.append(np.select(edges, [np.full_like(tail, 1 / keys), tail], np.nan))
    return Table(
        name="scales",
        columns={
            "keys": np.repeat(config.num_keys, len(SCALES)),
            "scale": np.tile(SCALES, len(config.num_keys)),
            "norm": np.array([value.mean for value in over_seeds]),
            "low": np.array([value.low for value in over_seeds]),
            "high": np.array([value.high for value in over_seeds]),
            "limits": np.concatenate(limits),
        },
    )


def _peaks() -> Table:
    """Raise one of three scores."""
    found = [peaked(float(score)) for score in _PEAKS]
    return Table(
        name="peaks",
        columns={
            "score": _PEAKS,
            "norm": np.array([norm for _, norm in found]),
            "theory": np.array([(3 * weights[0] * weights[1]).item() for weights, _ in found]),
        },
    )


def _shaped(config: SoftmaxScaleConfig, found: Sequence[Arrays], name: str) -> Column:
    """Order a number by keys, seeds, widths and scalings."""
    shape = (len(config.num_keys), config.seeds, len(config.widths), len(SCALINGS))
    return np.array([trial[name] for trial in found]).reshape(shape)
