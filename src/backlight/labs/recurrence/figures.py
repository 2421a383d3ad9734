"""Figures of how gradients travel back through time."""

from functools import partial

from backlight.labs.recurrence.options import RecurrenceConfig
from backlight.labs.recurrence.through_time import GATES, LSTM, TRANSFORMER
from backlight.report.plots import Panel, Plot


def recurrence_plots(config: RecurrenceConfig) -> list[Plot]:
    """Describe the figures.

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
    lines = partial(
        Panel, x="lag", y="log10_norm", low="low", high="high", y_label="log10 of the norm"
    )
    panels = [
        lines(
            table="norms",
            series="setting",
            where={"network": network},
            title=title,
            dashed=None if network == TRANSFORMER else "expected",
        )
        for network, title in titles.items()
    ]
    early = lines(
        table="early",
        series="network",
        title=f"first steps of linear RNNs of one spectral radius, {min(config.radii):g}",
        dashed="expected",
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
