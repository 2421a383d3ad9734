"""What the place of the norm does, in figures and plain sentences."""

import numpy as np

from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.norm_placement.tables import AT_THE_END
from backlight.report.plots import Panel, Plot
from backlight.tables import Table


def placement_plots(config: NormPlacementConfig) -> list[Plot]:
    """Say which figures are drawn: gradients at the first weights, and losses of trainings.

    Args:
        config: The options.

    Returns:
        Two figures.
    """
    deepest = max(config.depths)
    at_first = [
        Panel(
            table="depths",
            x="doublings",
            y="last_layer_gradient",
            series="norm",
            dashed="wide_network",
            log="y",
            title="last layer, against depth: slopes -1/2 and 0",
            x_label="layers, as a power of 2",
            y_label="norm of the gradient of W2",
            low="low",
            high="high",
        ),
        *(
            Panel(
                table="layers",
                x="layer",
                y="gradient",
                series="norm",
                dashed=dashed,
                log="y",
                title=title,
                y_label="norm of the gradient of W2",
                low="low",
                high="high",
            )
            for dashed, title in (
                ("wide_network", f"each of {deepest} layers, and the limit of wide networks"),
                ("xiong", "the same, and the decay that Xiong et al. estimate"),
            )
        ),
        Panel(
            table="sizes",
            x="layer",
            y="mean_square",
            series="stream",
            dashed="wide_network",
            title="size of the stream",
            y_label="mean square of an entry",
            low="low",
            high="high",
        ),
    ]
    trained = [
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
    return [
        Plot(
            name="norm_placement",
            title=f"Norms before (pre) and behind (post) the branches, first weights, "
            f"{config.seeds} seeds, 95 % intervals",
            panels=at_first,
        ),
        Plot(
            name="norm_placement_training",
            title=f"{config.n_layer} blocks learn characters, {config.initialisation} weights, "
            f"mean of {config.training_seeds} seeds",
            panels=trained,
        ),
    ]


def placement_remarks(config: NormPlacementConfig, slopes: Table, ends: Table) -> list[str]:
    """Say what the numbers say.

    Args:
        config: The options.
        slopes: The table of that name.
        ends: The table ``training``.

    Returns:
        Plain sentences.
    """
    told = [
        f"{slopes['quantity'][row]}, {slopes['norm'][row]}-norm: Xiong et al. "
        f"{slopes['xiong'][row]:.3g}, wide network {slopes['wide_network'][row]:.3g}, measured "
        f"{slopes['measured'][row]:.3g} ({slopes['low'][row]:.3g} to {slopes['high'][row]:.3g})."
        for row in range(slopes.num_rows)
    ]
    losses = [
        "; ".join(
            f"{kind} {loss:.2f}" if np.isfinite(loss) else f"{kind} broke off"
            for kind, loss in zip(
                ends["training"][rows], ends["loss_at_the_end"][rows], strict=True
            )
        )
        for rows in np.split(np.arange(ends.num_rows), len(config.learning_rates))
    ]
    return [
        *told,
        "The estimate (2/3)^((L-l)/2) counts what the norms take away and leaves out what the "
        "branches give back: behind each MLP the gradient's square grows by 1 + 1/2, which is what "
        "its norm divides by.",
        *(
            f"Training at {rate:g}, loss of the last {AT_THE_END} steps: {line}."
            for rate, line in zip(config.learning_rates, losses, strict=True)
        ),
    ]
