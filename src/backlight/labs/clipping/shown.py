"""What clipping does, in a figure and plain sentences."""

import numpy as np

from backlight.labs.clipping.options import ClippingConfig
from backlight.labs.clipping.tables import STRENGTHS
from backlight.report.plots import Panel, Plot
from backlight.tables import Table


def clipping_plot(config: ClippingConfig) -> Plot:
    """Say the figure: errors while learning, and cosines against strength.

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


def clipping_remarks(
    config: ClippingConfig, methods: Table, directions: Table, factors: Table
) -> list[str]:
    """Say what the numbers say.

    Args:
        config: The options.
        methods: The table of that name.
        directions: The table of that name.
        factors: The table ``torch_factor``.

    Returns:
        Plain sentences.
    """
    rows = {str(name): row for row, name in enumerate(methods["method"])}
    strongest = directions.select(directions["clip_at"] == min(STRENGTHS))
    away = np.abs(factors["torch"] - factors["theory"]).max()
    share = methods["share_clipped"][rows["global norm"]]
    return [
        f"{config.num_steps} steps of SGD, {config.seeds} seed(s), 95 % t intervals over seeds (of "
        "the logarithm, for errors, which are geometric means of those that did not diverge); "
        f"all methods leave the same mean length at the first weights, that of a global norm "
        f"clipped at {config.clip_at:g} median(s).",
        "Global norm: theory, cosine 1; measured, 1 - "
        f"{1 - methods['cosine_least'][rows['global norm']]:.1e} at worst.",
        *(
            f"{method}, everything clipped: theory, cosine "
            f"{strongest['theory_all_clipped'][row]:.4f}; measured at the strongest "
            f"{strongest['cosine'][row]:.4f}; in training, where clipped, "
            f"{methods['cosine_if_clipped'][rows[str(method)]]:.4f} (least "
            f"{methods['cosine_least'][rows[str(method)]]:.3f})."
            for row, method in enumerate(strongest["method"])
            if method != "global norm"
        ),
        *(
            f"{method}: error in the end {methods['error'][row]:.4f} "
            f"[{methods['error_low'][row]:.4f}, {methods['error_high'][row]:.4f}], worst rise by "
            f"one step {methods['worst_jump'][row]:.3g} (median over seeds), "
            f"{methods['diverged'][row]:.0%} of the trainings diverged."
            for method, row in rows.items()
        ),
        "The document: the global norm 'only kicks in when gradients are abnormally large'. That "
        f"depends on the threshold alone: here it clipped {share:.0%} of the steps.",
        f"torch's factor is max_norm / (norm + 1e-6), to {away:.1e}; max_norm / norm, as the "
        "document has it, is wrong where norms are near 1e-6.",
    ]
