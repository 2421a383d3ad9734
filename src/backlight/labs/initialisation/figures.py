"""Figures of what first weights do to activations and gradients."""

from typing import Any

from backlight.labs.initialisation.options import InitialisationConfig
from backlight.labs.initialisation.stacks import ACTIVATIONS
from backlight.report.plots import Panel, Plot


def initialisation_plots(config: InitialisationConfig) -> list[Plot]:
    """Describe the figures: of plain stacks, and of transformers.

    Args:
        config: The options.

    Returns:
        Two figures.
    """
    labels = {"activation": "rms of activations", "gradient": "rms of gradients"}
    ends = {"growth": "stream behind all blocks, over before", "back": "gradient, first over last"}
    stacks = [
        _panel(y, table="stacks", x="layer", title=name, where={"function": name}, y_label=label)
        for name in ACTIVATIONS
        for y, label in labels.items()
    ]
    deepest = f"along a transformer of {max(config.depths)} blocks"
    along = [
        _panel(y, table="stream_layers", x="block", title=deepest, y_label=label)
        for y, label in labels.items()
    ]
    against_depth = [
        _panel(
            y,
            table="streams",
            x="doublings",
            title="against depth",
            x_label="blocks, as a power of 2",
            y_label=f"mean square: {label}",
        )
        for y, label in ends.items()
    ]
    seeds = f"{config.seeds} seeds, 95 % intervals"
    return [
        Plot(
            name="initialisation_stacks",
            title=f"Stacks without skips, width {config.width}, {seeds}",
            panels=stacks,
        ),
        Plot(
            name="initialisation_transformer",
            title=f"The residual stream, width {config.n_embd}, {seeds}",
            panels=[*along, *against_depth],
        ),
    ]


def _panel(y: str, **others: Any) -> Panel:
    """Describe a panel of measurements with their intervals, predictions dashed."""
    return Panel(
        y=y,
        series="weights",
        low=f"{y}_low",
        high=f"{y}_high",
        dashed=f"{y}_predicted",
        log="y",
        **others,
    )
