"""Tables of the softmax's Jacobian: against the width, against the scale, and examples."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from backlight.decompose.softmax import softmax_jacobian
from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.repeating import Arrays, Found
from backlight.labs.frame.tabulating import Block, sentences, stacked
from backlight.labs.softmax_scale.options import SoftmaxScaleConfig
from backlight.labs.softmax_scale.theory import gap_density, median_gap, peaked
from backlight.tables import Column, Table

SCALINGS = {"with 1/sqrt(d)": True, "without": False}
"""Whether scores are scaled, by what that is called."""

SCALES = np.geomspace(0.1, 300, 22)
"""Scales of independent normal scores at which norms are measured."""

DEAD = 1e-3
"""A Jacobian of this norm passes on next to nothing."""

_PEAKS = np.arange(0, 16, 0.5)
_QUOTED = {2.0: "0.84 0.08 0.08", 10.0: "0.9999 0.00005 0.00005"}  # docs/how-gradients-move.md


def scale_tables(config: SoftmaxScaleConfig, found: Found) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What the seeds of each number of keys measured.

    Returns:
        ``exact`` (two examples), ``slopes`` (against the width), ``widths``, ``scales`` and
        ``peaks``.
    """
    return [
        stacked("exact", [_exact(score, quoted) for score, quoted in _QUOTED.items()]),
        stacked("slopes", _slopes(config, found)),
        stacked("widths", _widths(config, found)),
        stacked("scales", [_scales(**condition, arrays=arrays) for condition, arrays in found]),
        stacked("peaks", [_peak(float(score)) for score in _PEAKS]),
    ]


def _exact(score: float, quoted: str) -> dict[str, str | float]:
    """Set what is quoted beside what is so."""
    weights, norm = peaked(score)
    return {
        "scores": f"[{score:g}, 0, 0]",
        "quoted": quoted,
        "softmax": " ".join(f"{weight:.5g}" for weight in weights.tolist()),
        "theory_3_p1_p2": (3 * weights[0] * weights[1]).item(),
        "jacobian_norm": norm,
        "jacobian_trace": softmax_jacobian(weights).trace().item(),
    }


def _slopes(config: SoftmaxScaleConfig, found: Found) -> Iterator[Block]:
    """Fit slopes against the width for each seed, from the width that was asked for."""
    widths = np.array(config.widths, dtype=np.float64)
    far = widths >= min(config.slope_from, np.sort(widths)[-2:].min())
    log_width, root = np.log(widths)[far], np.sqrt(widths)[far]
    for condition, arrays in found:
        # Independent normal scores of scale sqrt(d), as far as d is from infinity.
        norms = np.log(arrays["by_scale"].mean(axis=0))
        here = np.polyfit(log_width, np.interp(log_width / 2, np.log(SCALES), norms), 1)[0]
        means, medians = np.log(arrays["norm"])[:, far], arrays["log_norm_median"][:, far]
        laws = (
            ("ln mean / ln d", means, log_width, -0.5, here),
            ("median ln / sqrt d", medians, root, -median_gap(**condition), np.nan),
        )
        for (number, scaling), (law, values, x, limit, theory) in product(
            enumerate(SCALINGS), laws
        ):
            slopes = np.array([np.polyfit(x, row, 1)[0] for row in values[..., number]])
            yield {
                **condition,
                "scores": scaling,
                "slope_of": law,
                "limit": 0.0 if SCALINGS[scaling] else limit,
                "theory": np.nan if SCALINGS[scaling] else theory,
                **over_seeds("slope", slopes),
            }


def _widths(config: SoftmaxScaleConfig, found: Found) -> Iterator[Block]:
    """Average over seeds, for each number of keys, scaling and width."""
    root = np.sqrt(config.widths)
    for (condition, arrays), (number, scaling) in product(found, enumerate(SCALINGS)):
        block: dict[str, Any] = {**condition, "scores": scaling, "width": config.widths}
        for name in [name for name in arrays if name != "by_scale"]:
            block |= over_seeds(name, arrays[name][..., number])
        del block["outside_low"], block["outside_high"]
        yield block | _limits(**condition, root=root, is_shown=scaling == "without")


def _limits(keys: int, *, root: Column, is_shown: bool) -> dict[str, Column]:
    """Predict means and medians without the factor, for large widths."""
    density = gap_density(keys)
    far = is_shown & (root > 2 * density)
    return {
        "theory": np.where(far, density / root, np.nan),
        "theory_median": np.where(far, np.log(2) - median_gap(keys) * root, np.nan),
    }


def _scales(keys: int, *, arrays: Arrays) -> dict[str, Any]:
    """Average over seeds, for each scale of independent scores; with limits of either end."""
    tail = gap_density(keys) / SCALES
    edges = [SCALES < 0.3, 4 * gap_density(keys) < SCALES]
    return {
        "keys": keys,
        "scale": SCALES,
        **over_seeds("norm", arrays["by_scale"], prefix=""),
        "limits": np.select(edges, [np.full_like(tail, 1 / keys), tail], np.nan),
    }


def _peak(score: float) -> dict[str, float]:
    """Raise one of three scores."""
    weights, norm = peaked(score)
    return {"score": score, "norm": norm, "theory": (3 * weights[0] * weights[1]).item()}


def scale_remarks(config: SoftmaxScaleConfig, slopes: Table, widths: Table) -> list[str]:
    """Write in sentences what the numbers say.

    Args:
        config: The options.
        slopes: The table of that name.
        widths: The table of that name.

    Returns:
        Plain sentences.
    """
    mean = slopes.select((slopes["slope_of"] == "ln mean / ln d") & (slopes["scores"] == "without"))
    measured = sentences(
        mean, "{keys} keys {theory:.3f} and {slope:.3f} [{slope_low:.3f}, {slope_high:.3f}]"
    )
    return [
        f"{config.num_queries} queries, {config.seeds} seed(s), 95 % t intervals over seeds.",
        "Theory: max p(1-p) <= norm <= min(1/2, 2 max p(1-p)); broken by "
        f"{widths['outside'].mean():.2%} of all queries.",
        "The quoted softmax([2, 0, 0]) = [0.84, 0.08, 0.08] is wrong; the exact numbers stand in "
        "the first table.",
        *(_at_the_widest(config, keys, widths) for keys in config.num_keys),
        "Without 1/sqrt(d) the slope of ln mean with ln d goes to -1/2 only for large d, the fewer "
        f"the keys, the sooner. From d = {config.slope_from}, theory (independent normal scores of "
        f"scale sqrt(d)) and measurement: {', '.join(measured)}.",
    ]


def _at_the_widest(config: SoftmaxScaleConfig, keys: int, widths: Table) -> str:
    widest = max(config.widths)
    rows = widths.select((widths["keys"] == keys) & (widths["width"] == widest))
    scaled, raw = (np.flatnonzero(rows["scores"] == name)[0] for name in SCALINGS)
    return (
        f"{keys} keys, d = {widest}: mean norm {rows['norm'][scaled]:.4f} with 1/sqrt(d), "
        f"{rows['norm'][raw]:.4f} without (theory {gap_density(keys) / widest**0.5:.4f}); "
        f"{rows['dead'][raw]:.0%} of the queries below {DEAD:g} without, "
        f"{rows['dead'][scaled]:.0%} with; mean gradient at a query "
        f"{rows['query_gradient'][raw]:.3g} without, {rows['query_gradient'][scaled]:.3g} with "
        f"(median {rows['query_gradient_median'][raw]:.2g} and "
        f"{rows['query_gradient_median'][scaled]:.2g})."
    )
