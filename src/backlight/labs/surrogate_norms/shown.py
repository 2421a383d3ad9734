"""What trainings with replaced norms say: figures and plain sentences."""

from functools import partial
from itertools import product
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from backlight.labs.characters.curves import STEPS_IN_A_POINT
from backlight.labs.surrogate_norms.costs import AFTERWARDS, PREDICTIONS, Found
from backlight.labs.surrogate_norms.options import SurrogateNormsConfig
from backlight.report.plots import Panel, Plot
from backlight.tables import Table


def cost_plots(config: SurrogateNormsConfig) -> tuple[Plot, ...]:
    """Say which figures are drawn: costs beside predictions, and curves of training."""
    return _cost_plot(config), _curve_plot(config)


def cost_remarks(
    config: SurrogateNormsConfig, found: Found, costs: Table, contrasts: Table
) -> list[str]:
    """Say what the numbers say.

    Args:
        config: The options.
        found: What each training gave.
        costs: The table of that name.
        contrasts: The table of that name.

    Returns:
        Plain sentences.
    """
    return [
        *_divergences(found),
        *_answers(contrasts),
        *_ranks(costs),
        *_significance(config, costs, contrasts),
    ]


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


def _divergences(found: Found) -> list[str]:
    diverged = {
        ran: int(trial["diverged_at"])
        for ran, trial in found.items()
        if int(trial["diverged_at"]) >= 0
    }
    if not diverged:
        return ["No training diverged."]
    listed = "; ".join(
        f"{method}, {attention}, {backward}, seed {seed}: step {step}"
        for (seed, method, attention, backward), step in diverged.items()
    )
    return [
        f"{len(diverged)} of {len(found)} trainings diverged ({listed}). Their seeds are left out "
        "of the costs."
    ]


def _answers(contrasts: Table) -> list[str]:
    """Answer the question that this experiment comes from."""
    name = "softmax_less_sigmoid"
    mean, low, high = (contrasts[f"{name}{end}"] for end in ("", "_low", "_high"))
    return [
        f"{contrasts['method'][row]}: center_scale costs {mean[row]:+.4f} nats more with softmax "
        f"than with sigmoid attention, 95 % interval {low[row]:+.4f} to {high[row]:+.4f}, "
        f"p = {contrasts['p'][row]:.2g}."
        for row in np.flatnonzero(contrasts["norm_backward"] == "center_scale")
        if np.isfinite(contrasts["p"][row])
    ]


def _ranks(costs: Table) -> list[str]:
    """Say whether the predictions rank the costs."""
    known = (costs["norm_backward"] != "true") & np.isfinite(costs["cost"])
    conditions = [*dict.fromkeys(costs["condition"].tolist()), None]
    said: list[str] = []
    for name in (*PREDICTIONS, *AFTERWARDS):
        ranks = {
            condition or "all": _spearman(
                costs[name],
                costs["cost"],
                known & (costs["condition"] == condition) if condition else known,
            )
            for condition in conditions
        }
        listed = ", ".join(f"{rank:+.2f} ({where})" for where, rank in ranks.items())
        said.append(f"Spearman's rank correlation of the cost with {name}: {listed}.")
    return said


def _spearman(
    first: NDArray[np.float64], second: NDArray[np.float64], rows: NDArray[np.bool_]
) -> float:
    a, b = first[rows], second[rows]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return float(cast("tuple[float, float]", spearmanr(a, b))[0])


def _significance(config: SurrogateNormsConfig, costs: Table, contrasts: Table) -> list[str]:
    if config.seeds < 2:
        return ["One seed: no intervals and no p values. Ask for several with --seeds."]
    return [
        f"p is of a paired t test over {config.seeds} seeds; p_holm is corrected for the "
        f"{int(np.isfinite(costs['p']).sum())} costs and the {contrasts.num_rows} contrasts, each "
        "table for itself. Intervals are not corrected."
    ]
