"""What the softmax lets through, in a figure and plain sentences."""

import numpy as np

from backlight.labs.softmax_scale.options import SoftmaxScaleConfig
from backlight.labs.softmax_scale.tables import DEAD, SCALINGS
from backlight.labs.softmax_scale.theory import gap_density
from backlight.report.plots import Panel, Plot
from backlight.tables import Table


def scale_plot(config: SoftmaxScaleConfig) -> Plot:
    """Say the figure: against the width, against the scale, and for one score that stands out.

    Args:
        config: The options.

    Returns:
        The figure.
    """
    keys = 64 if 64 in config.num_keys else config.num_keys[-1]
    kinds = {
        "norm": ("mean norm of the Jacobian", "theory"),
        "log_norm_median": ("median ln norm of the Jacobian", "theory_median"),
        "dead": (f"share of queries with a norm below {DEAD:g}", None),
        "query_gradient": ("mean gradient at a query", None),
    }
    by_width = [
        Panel(
            table="widths",
            x="width",
            y=column,
            low=f"{column}_low",
            high=f"{column}_high",
            series="scores",
            where={"keys": keys},
            dashed=dashed,
            log="xy" if column in {"norm", "query_gradient"} else "x",
            title=f"{title}, {keys} keys",
            x_label="width d of queries and keys",
            y_label="",
        )
        for column, (title, dashed) in kinds.items()
    ]
    scales = Panel(
        table="scales",
        x="scale",
        y="norm",
        low="low",
        high="high",
        series="keys",
        dashed="limits",
        levels={"never above 1/2": 0.5},
        log="xy",
        title="mean norm, independent normal scores (by number of keys)",
        x_label="scale of the scores",
        y_label="",
    )
    peaks = Panel(
        table="peaks",
        x="score",
        y="norm",
        dashed="theory",
        log="y",
        title="norm for scores [a, 0, 0]; theory 3 p1 p2",
        x_label="a",
        y_label="",
    )
    return Plot(
        name="softmax_scale",
        title="What the softmax of attention lets through to the scores",
        panels=[*by_width, scales, peaks],
        columns=3,
    )


def scale_remarks(config: SoftmaxScaleConfig, slopes: Table, widths: Table) -> list[str]:
    """Say what the numbers say.

    Args:
        config: The options.
        slopes: The table of that name.
        widths: The table of that name.

    Returns:
        Plain sentences.
    """
    lines = [
        f"{config.num_queries} queries, {config.seeds} seed(s), 95 % t intervals over seeds.",
        "Theory: max p(1-p) <= norm <= min(1/2, 2 max p(1-p)); broken by "
        f"{widths['outside'].mean():.2%} of all queries.",
        "The document's softmax([2, 0, 0]) = [0.84, 0.08, 0.08] is wrong; the exact numbers stand "
        "in the first table.",
    ]
    widest = max(config.widths)
    for keys in config.num_keys:
        rows = widths.select((widths["keys"] == keys) & (widths["width"] == widest))
        scaled, raw = (np.flatnonzero(rows["scores"] == name)[0] for name in SCALINGS)
        lines.append(
            f"{keys} keys, d = {widest}: mean norm {rows['norm'][scaled]:.4f} with 1/sqrt(d), "
            f"{rows['norm'][raw]:.4f} without (theory {gap_density(keys) / widest**0.5:.4f}); "
            f"{rows['dead'][raw]:.0%} of the queries below {DEAD:g} without, "
            f"{rows['dead'][scaled]:.0%} with; mean gradient at a query "
            f"{rows['query_gradient'][raw]:.3g} without, {rows['query_gradient'][scaled]:.3g} with "
            f"(median {rows['query_gradient_median'][raw]:.2g} and "
            f"{rows['query_gradient_median'][scaled]:.2g})."
        )
    mean = slopes.select((slopes["slope_of"] == "ln mean / ln d") & (slopes["scores"] == "without"))
    numbers = (mean[name] for name in ("keys", "theory", "slope", "slope_low", "slope_high"))
    lines.append(
        "Without 1/sqrt(d) the slope of ln mean with ln d goes to -1/2 only for large d, the fewer "
        f"the keys, the sooner. From d = {config.slope_from}, theory (independent normal scores of "
        "scale sqrt(d)) and measurement: "
        + ", ".join(
            f"{keys} keys {theory:.3f} and {slope:.3f} [{low:.3f}, {high:.3f}]"
            for keys, theory, slope, low, high in zip(*numbers, strict=True)
        )
        + "."
    )
    return lines
