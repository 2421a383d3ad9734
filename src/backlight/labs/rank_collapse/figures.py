"""The figure of how tokens become alike."""

from backlight.labs.rank_collapse.options import RankCollapseConfig
from backlight.report.plots import Panel, Plot


def collapse_plot(config: RankCollapseConfig) -> Plot:
    """Describe the figure: the rest's share and the gradients, along one network and against depth.

    Args:
        config: The options.

    Returns:
        The figure.
    """
    deepest = f"in the {max(config.depths)} layers of one network"
    panels = [
        Panel(
            table=table,
            x=x,
            y=y,
            series="network",
            low=f"{y}_low",
            high=f"{y}_high",
            dashed="predicted" if y == "share" else None,
            log="y",
            title=title,
            x_label=x_label,
            y_label=label,
        )
        for y, label in (
            ("share", "share of the rest in the energy"),
            ("query_to_value", "|dL/dW_Q| / |dL/dW_V|"),
        )
        for table, x, title, x_label in (
            ("layers", "layer", deepest, "layer, by what it reads"),
            ("depths", "depth", "at the last layer, against depth", None),
        )
    ]
    return Plot(
        name="rank_collapse",
        title=f"Attention makes tokens alike, and queries and keys stop learning ({config.seeds} "
        "seeds, 95 % intervals)",
        panels=panels,
    )
