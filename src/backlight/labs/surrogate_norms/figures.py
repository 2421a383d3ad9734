"""Figures of replaced norms: costs beside predictions, and curves of training."""

from functools import partial
from itertools import product

from backlight.labs.characters.curves import STEPS_IN_A_POINT
from backlight.labs.surrogate_norms.options import SurrogateNormsConfig
from backlight.report.plots import Panel, Plot


def cost_plots(config: SurrogateNormsConfig) -> list[Plot]:
    """Describe the figures: costs beside predictions, and curves of training."""
    return [_cost_plot(config), _curve_plot(config)]


def _cost_plot(config: SurrogateNormsConfig) -> Plot:
    shared = partial(
        Panel, table="costs", y="cost", low="cost_low", high="cost_high", levels={"no cost": 0.0}
    )
    beside = {
        "direction_lost": "1 - cosine at each norm, after learning with the true backward",
        "length_ratio": "length over the true gradient's, at each norm",
        "gradient_angle": "angle of the weights' gradients, all norms replaced (degrees)",
        "sigma": "what a norm divides by in the end, mean over norms",
    }
    contrasts = Panel(
        table="contrasts",
        x="norm_backward",
        y="softmax_less_sigmoid",
        series="method",
        low="softmax_less_sigmoid_low",
        high="softmax_less_sigmoid_high",
        levels={"no difference": 0.0},
        title="cost with softmax less cost with sigmoid attention",
        x_label="",
    )
    return Plot(
        name="surrogate_norms",
        title=f"What a simpler backward of all norms costs after {config.num_steps} steps "
        f"({config.seeds} seeds, 95 % intervals), and what was predicted",
        columns=3,
        panels=[
            shared(
                x="norm_backward",
                series="condition",
                title="validation loss above the true backward's",
                x_label="",
            ),
            *([contrasts] if len(config.attn_modes) > 1 else []),
            *(
                shared(
                    x=column,
                    series="norm_backward",
                    joined=False,
                    title=f"against {column.replace('_', ' ')}",
                    log="x" if column in {"length_ratio", "sigma"} else "",
                    x_label=label,
                )
                for column, label in beside.items()
            ),
        ],
    )


def _curve_plot(config: SurrogateNormsConfig) -> Plot:
    return Plot(
        name="surrogate_norm_curves",
        title=f"Training loss, mean over {STEPS_IN_A_POINT} steps and {config.seeds} seeds",
        panels=[
            Panel(
                table="curves",
                x="step",
                y="loss",
                series="norm_backward",
                where={"condition": f"{method}, {attention}"},
                title=f"{method}, {attention} attention",
            )
            for method, attention in product(config.methods, config.attn_modes)
        ],
    )
