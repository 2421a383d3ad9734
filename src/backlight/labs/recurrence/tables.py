"""Tables of how gradients travel back through time, and what they say."""

from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.repeating import Arrays, Found
from backlight.labs.frame.tabulating import sentences, stacked
from backlight.labs.recurrence.options import RecurrenceConfig
from backlight.labs.recurrence.through_time import GATES, LSTM, TRANSFORMER
from backlight.tables import Column, Table

_TENS = np.log(10)
_MEASURED = ("rate", "rate_low", "rate_high")
_INTERVAL = "{rate:.4f} [{rate_low:.4f}, {rate_high:.4f}]"

EARLY = 60
"""Up to here, every lag is measured."""


def recurrence_tables(config: RecurrenceConfig, found: Found, lags: Column) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What the seeds of each network measured: the recurrent ones first, radius by radius.
        lags: Where norms were measured.

    Returns:
        ``rates``, ``bounds``, ``norms`` and ``early``.
    """
    rates = [{**network, **_rate(arrays, lags)} for network, arrays in found]
    radii = cycle(dict.fromkeys(config.radii))
    bounds = [
        {
            **network,
            "spectral_radius": radius,
            "s_max": np.exp(arrays["log_largest"]).mean(),
            "bound": arrays["bound"].mean(),
            "share_over_bound": _is_over(arrays, lags).mean(),
            **{name: rate[name] for name in _MEASURED},
        }
        for radius, (network, arrays), rate in zip(radii, found, rates, strict=False)
        if "bound" in arrays
    ]
    norms = [
        {
            **network,
            "lag": lags,
            **over_seeds("log10_norm", arrays["log_norms"] / _TENS, prefix=""),
            "expected": lags * arrays["expected"].mean() / _TENS,
        }
        for network, arrays in found
    ]
    at_lags = stacked("norms", norms, {"lag": "steps back"})
    return [
        stacked("rates", rates, dict.fromkeys(("expected", *_MEASURED), "1/step")),
        stacked("bounds", bounds, dict.fromkeys(("bound", *_MEASURED), "1/step")),
        at_lags,
        _early(config, at_lags),
    ]


def _rate(arrays: Arrays, lags: Column) -> dict[str, Any]:
    """Fit a network's rate, beside what is expected, and measure which law fits better."""
    logs, late = arrays["log_norms"], lags >= lags[-1] / 2
    slopes = np.array([np.polyfit(lags[late], row[late], 1)[0] for row in logs])
    fits = np.array([misfits(lags.astype(np.float64), row) for row in logs]).mean(axis=0)
    return {
        "expected": arrays["expected"].mean(),
        **over_seeds("rate", slopes),
        "log10_norm_at_T": logs[:, -1].mean() / _TENS,
        "misfit_exponential": fits[0],
        "misfit_power": fits[1],
    }


def misfits(
    lags: Float[np.ndarray, " lags"], log_norms: Float[np.ndarray, " lags"]
) -> tuple[float, float]:
    """Fit exponential and power decay, and measure how far each is from what is there.

    Args:
        lags: k.
        log_norms: ln of the norm at each.

    Returns:
        Root mean squares of what is left of ln norm by a line in k, and by a line in ln k.
    """
    left = [log_norms - np.polyval(np.polyfit(x, log_norms, 1), x) for x in (lags, np.log(lags))]
    return float(np.sqrt(np.mean(left[0] ** 2))), float(np.sqrt(np.mean(left[1] ** 2)))


def _is_over(arrays: Arrays, lags: Column) -> NDArray[np.bool_]:
    """Find where a norm breaks Pascanu's bound."""
    return arrays["log_norms"] > lags * (arrays["bound"][:, None] + 1e-9)


def _early(config: RecurrenceConfig, norms: Table) -> Table:
    """Keep the first lags of the linear networks with the smallest radius."""
    kept = (norms["setting"] == f"radius {min(config.radii):g}") & (norms["lag"] <= EARLY)
    return replace(norms.select(kept & _is_linear(norms)), name="early")


def _is_linear(table: Table) -> Column:
    return np.char.startswith(table["network"].astype(np.str_), "linear")


def recurrence_remarks(
    config: RecurrenceConfig, rates: Table, bounds: Table, norms: Table, early: Table
) -> list[str]:
    """Write in sentences what theory predicts and what was measured.

    Args:
        config: The options.
        rates: The rates of all networks.
        bounds: The bounds of the recurrent ones.
        norms: The norms at all lags.
        early: The norms at the first lags of linear networks.

    Returns:
        The sentences.
    """
    linear = _is_linear(bounds)
    errors = np.abs(rates["rate"] - rates["expected"])[: bounds.num_rows]
    return [
        f"T = {config.num_steps}, {config.seeds} seed(s), 95 % t intervals over seeds; norms are "
        "spectral norms of exact products of Jacobians.",
        f"Bound (gamma s_max)^k: broken at {bounds['share_over_bound'].mean():.2%} of the lags.",
        _verdicts(bounds),
        "Linear RNNs: theory says ln(spectral radius) in the end; measured rates differ from it by "
        f"at most {errors[linear].max():.2g} per step.",
        "tanh and sigmoid RNNs: ln(g sqrt(mean s'^2)) is an estimate, no bound; measured rates "
        f"differ from it by {errors[~linear].mean():.2g} per step on average.",
        *_growth(config, early),
        *_gated(rates),
        _transformer(config, rates, norms),
    ]


def _verdicts(bounds: Table) -> str:
    small, grows = bounds["bound"] < 0, bounds["rate"] > 0
    return (
        f"gamma s_max < 1 (enough for vanishing): {small.sum()} RNN(s), {(small & ~grows).sum()} "
        f"vanish. gamma s_max > 1 (only necessary for exploding): {(~small).sum()}, "
        f"{(~small & grows).sum()} explode, {(~small & ~grows).sum()} vanish all the same."
    )


def _growth(config: RecurrenceConfig, early: Table) -> list[str]:
    """Measure how far non-normal matrices grow before they shrink."""
    if min(config.radii) >= 1:
        return []
    rows = early.select(early["network"] == "linear, non-normal")
    top = int(rows["log10_norm"].argmax())
    return [
        f"Non-normal matrix of radius {min(config.radii):g}: the norm first grows, to "
        f"{10 ** rows['log10_norm'][top]:.3g} at k = {rows['lag'][top]}, and shrinks only then."
    ]


def _gated(rates: Table) -> list[str]:
    """Describe what forget gates do, and what goes past them."""
    gates, full = (
        sentences(rates.select(rates["network"] == name), template)
        for name, template in (
            (
                GATES,
                "LSTM, {setting}: theory, ln sigmoid(bias) = {expected:.4f}; product of forget "
                "gates, " + _INTERVAL,
            ),
            (LSTM, "all paths, those through h among them, " + _INTERVAL),
        )
    )
    return [f"{gate}; {whole}." for gate, whole in zip(gates, full, strict=True)]


def _transformer(config: RecurrenceConfig, rates: Table, norms: Table) -> str:
    logs = norms.select(norms["network"] == TRANSFORMER)["log10_norm"]
    template = (
        "Transformer: theory, no decay beyond the 1/T of even attention. From k = 1 to k = "
        f"{config.num_steps} the norm changes by a factor of {10 ** (logs[-1] - logs[0]):.2g}; "
        f"rate {_INTERVAL} per step. A line in k leaves {{misfit_exponential:.2g}} of ln norm "
        "unexplained, a line in ln k {misfit_power:.2g}: nearly flat."
    )
    return sentences(rates, template)[-1]
