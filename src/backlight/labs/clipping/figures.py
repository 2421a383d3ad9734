"""The figure of what clipping does."""

from backlight.labs.clipping.options import ClippingConfig
from backlight.report.plots import Panel, Plot


def clipping_plot(config: ClippingConfig) -> Plot:
    """Describe the figure: errors while learning, and cosines against strength.

    Args:
        config: The options.

    Returns:
        The figure.
    """
    return Plot(
        name="clipping",
        title=f"Clipping on a spiky loss (labels with t noise, {config.degrees_of_freedom:g} "
        "degrees of freedom)",
        panels=[
            Panel(
                table="curves",
                x="step",
                y="error",
                low="lower_quartile",
                high="upper_quartile",
                series="method",
                log="y",
                title="squared error without noise: median and quartiles over seeds",
                y_label="squared error",
            ),
            Panel(
                table="directions",
                x="clip_at",
                y="cosine",
                low="cosine_low",
                high="cosine_high",
                dashed="theory_all_clipped",
                series="method",
                log="x",
                title="cosine with the raw gradient, against strength",
                x_label="global norm at which is clipped (in median norms)",
                y_label="mean cosine",
            ),
        ],
    )
