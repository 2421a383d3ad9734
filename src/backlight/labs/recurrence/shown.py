"""What the experiment on recurrence shows: its pictures, and its numbers in sentences."""

import numpy as np

from backlight.labs.recurrence.options import RecurrenceConfig
from backlight.report.plots import Panel, Plot
from backlight.tables import Table

LSTM, GATES, TRANSFORMER = "LSTM", "LSTM, forget gates only", "transformer"
"""Networks that are not simple recurrent ones, by the names in tables."""


def recurrence_plots(config: RecurrenceConfig) -> list[Plot]:
    """Say the pictures.

    Args:
        config: The options.

    Returns:
        Norms against lags for six networks; and what singular values say, beside what they do.
    """
    titles = {
        "linear, gaussian": "linear RNN, gaussian matrix",
        "tanh, gaussian": "tanh RNN, gaussian matrix",
        "sigmoid, gaussian": "sigmoid RNN, gaussian matrix",
        LSTM: "LSTM: all paths",
        GATES: "LSTM: product of forget gates, largest unit",
        TRANSFORMER: f"transformer, {config.n_layer} blocks, first weights",
    }
    panels = [_lines("norms", "setting", title, network) for network, title in titles.items()]
    early = _lines(
        "early",
        "network",
        f"first steps of linear RNNs of one spectral radius, {min(config.radii):g}",
    )
    against_bound = Panel(
        table="bounds",
        x="bound",
        y="rate",
        low="rate_low",
        high="rate_high",
        series="network",
        dashed="bound",
        joined=False,
        levels={"neither": 0.0},
        title="the rate stays below Pascanu's bound (dashed)",
        x_label="bound: ln(gamma s_max) per step",
        y_label="measured rate (ln per step)",
    )
    title = "|| d x(T) / d x(T-k) ||: how the gradient travels back through time"
    return [
        Plot(name="recurrence", title=title, panels=panels, columns=3),
        Plot(
            name="recurrence_bounds",
            title="Spectral radius and largest singular value are not the same",
            panels=[against_bound, early],
        ),
    ]


def _lines(table: str, series: str, title: str, network: str | None = None) -> Panel:
    return Panel(
        table=table,
        x="lag",
        y="log10_norm",
        low="low",
        high="high",
        dashed=None if network == TRANSFORMER else "expected",
        series=series,
        where={} if network is None else {"network": network},
        title=title,
        y_label="log10 of the norm",
    )


def recurrence_remarks(
    config: RecurrenceConfig, rates: Table, bounds: Table, norms: Table, early: Table
) -> list[str]:
    """Say in sentences what theory predicts and what was measured.

    Args:
        config: The options.
        rates: Of all networks.
        bounds: Of the recurrent ones.
        norms: At all lags.
        early: At the first lags, of linear networks.

    Returns:
        The sentences.
    """
    linear = np.char.startswith(bounds["network"].astype(np.str_), "linear")
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
    """Say how far non-normal matrices grow before they shrink."""
    rows = early.select(early["network"] == "linear, non-normal")
    top = int(rows["log10_norm"].argmax())
    if min(config.radii) >= 1:
        return []
    return [
        f"Non-normal matrix of radius {min(config.radii):g}: the norm first grows, to "
        f"{10 ** rows['log10_norm'][top]:.3g} at k = {rows['lag'][top]}, and shrinks only then."
    ]


def _gated(rates: Table) -> list[str]:
    """Say what forget gates do, and what goes past them."""
    gates, full = (np.flatnonzero(rates["network"] == name).tolist() for name in (GATES, LSTM))
    return [
        f"LSTM, {rates['setting'][gate]}: theory, ln sigmoid(bias) = "
        f"{rates['expected'][gate]:.4f}; product of forget gates, {_interval(rates, gate)}; all "
        f"paths, those through h among them, {_interval(rates, whole)}."
        for gate, whole in zip(gates, full, strict=True)
    ]


def _interval(rates: Table, row: int) -> str:
    rate, low, high = (rates[name][row] for name in ("rate", "rate_low", "rate_high"))
    return f"{rate:.4f} [{low:.4f}, {high:.4f}]"


def _transformer(config: RecurrenceConfig, rates: Table, norms: Table) -> str:
    row = rates.num_rows - 1
    logs = norms.select(norms["network"] == TRANSFORMER)["log10_norm"]
    return (
        "Transformer: theory, no decay beyond the 1/T of even attention. From k = 1 to k = "
        f"{config.num_steps} the norm changes by a factor of {10 ** (logs[-1] - logs[0]):.2g}; "
        f"rate {_interval(rates, row)} per step. A line in k leaves "
        f"{rates['misfit_exponential'][row]:.2g} of ln norm unexplained, a line in ln k "
        f"{rates['misfit_power'][row]:.2g}: nearly flat."
    )
