"""Figures of what the place of the norm does."""

from functools import partial

from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.report.plots import Panel, Plot


def placement_plots(config: NormPlacementConfig) -> list[Plot]:
    """Describe the figures: gradients at the first weights, and losses of trainings.

    Args:
        config: The options.

    Returns:
        Two figures.
    """
    return [
        Plot(
            name="norm_placement",
            title=f"Norms before (pre) and behind (post) the branches, first weights, "
            f"{config.seeds} seeds, 95 % intervals",
            panels=_at_first(config),
        ),
        Plot(
            name="norm_placement_training",
            title=f"{config.n_layer} blocks learn characters, {config.initialisation} weights, "
            f"mean of {config.training_seeds} seeds",
            panels=_trained(config),
        ),
    ]


def _at_first(config: NormPlacementConfig) -> list[Panel]:
    """Describe the panels of gradients and of the stream at the first weights."""
    measured = partial(Panel, low="low", high="high")
    gradients = partial(measured, series="norm", log="y", y_label="norm of the gradient of W2")
    by_layer = partial(gradients, table="layers", x="layer", y="gradient")
    return [
        gradients(
            table="depths",
            x="doublings",
            y="last_layer_gradient",
            dashed="wide_network",
            title="last layer, against depth: slopes -1/2 and 0",
            x_label="layers, as a power of 2",
        ),
        by_layer(
            dashed="wide_network",
            title=f"each of {max(config.depths)} layers, and the limit of wide networks",
        ),
        by_layer(dashed="xiong", title="the same, and the decay that Xiong et al. estimate"),
        measured(
            table="sizes",
            x="layer",
            y="mean_square",
            series="stream",
            dashed="wide_network",
            title="size of the stream",
            y_label="mean square of an entry",
        ),
    ]


def _trained(config: NormPlacementConfig) -> list[Panel]:
    """Describe a panel of losses for each learning rate."""
    return [
        Panel(
            table="curves",
            x="step",
            y="loss",
            series="training",
            where={"learning_rate": f"{rate:g}"},
            title=f"AdamW at {rate:g}",
        )
        for rate in config.learning_rates
    ]
