"""What first weights do to activations and gradients, in figures and plain sentences."""

from dataclasses import replace

from backlight.labs.initialisation.options import InitialisationConfig
from backlight.labs.initialisation.stacks import ACTIVATIONS
from backlight.report.plots import Panel, Plot
from backlight.tables import Table


def initialisation_plots(config: InitialisationConfig) -> list[Plot]:
    """Say which figures are drawn: of plain stacks, and of transformers.

    Args:
        config: The options.

    Returns:
        Two figures.
    """
    labels = {"activation": "rms of activations", "gradient": "rms of gradients"}
    stacks = [
        replace(
            _panel("stacks", "layer", quantity, function, y_label=label),
            where={"function": function},
        )
        for function in ACTIVATIONS
        for quantity, label in labels.items()
    ]
    ends = {"growth": "stream behind all blocks, over before", "back": "gradient, first over last"}
    deepest = f"along a transformer of {max(config.depths)} blocks"
    streams = [
        *(
            _panel("stream_layers", "block", quantity, deepest, y_label=label)
            for quantity, label in labels.items()
        ),
        *(
            _panel(
                "streams",
                "doublings",
                quantity,
                "against depth",
                x_label="blocks, as a power of 2",
                y_label=f"mean square: {label}",
            )
            for quantity, label in ends.items()
        ),
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
            panels=streams,
        ),
    ]


def _panel(
    table: str, x: str, y: str, title: str, *, y_label: str, x_label: str | None = None
) -> Panel:
    return Panel(
        table=table,
        x=x,
        y=y,
        series="weights",
        title=title,
        low=f"{y}_low",
        high=f"{y}_high",
        dashed=f"{y}_predicted",
        log="y",
        x_label=x_label,
        y_label=y_label,
    )


def initialisation_remarks(growth: Table, slopes: Table) -> list[str]:
    """Say what the numbers say.

    Args:
        growth: The table of that name.
        slopes: The table of that name.

    Returns:
        Plain sentences.
    """

    def told(table: Table, row: int) -> str:
        return (
            f"predicted {table['predicted'][row]:.4g}, measured {table['measured'][row]:.4g} "
            f"({table['measured_low'][row]:.4g} to {table['measured_high'][row]:.4g})"
        )

    return [
        *(
            f"{growth['function'][row]}, {growth['weights'][row]}, factor of the "
            f"{growth['quantity'][row]}'s rms per layer: {told(growth, row)}."
            for row in range(growth.num_rows)
        ),
        *(
            f"Transformer, {slopes['weights'][row]}, {slopes['quantity'][row]}: "
            f"{told(slopes, row)}."
            for row in range(slopes.num_rows)
        ),
        "Left out of the prediction: the gradient's way through the scores, which counts where "
        "weights are large (he), and that a mean of logarithms is below the logarithm of the mean.",
    ]
