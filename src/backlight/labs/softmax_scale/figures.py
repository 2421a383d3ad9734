"""What the softmax lets through, in a figure."""

from functools import partial

from backlight.labs.softmax_scale.options import SoftmaxScaleConfig
from backlight.labs.softmax_scale.tables import DEAD
from backlight.report.plots import Panel, Plot


def scale_plot(config: SoftmaxScaleConfig) -> Plot:
    """Describe the figure: against the width, against the scale, for one score that stands out.

    Args:
        config: The options.

    Returns:
        The figure.
    """
    return Plot(
        name="softmax_scale",
        title="What the softmax of attention lets through to the scores",
        panels=[*_against_width(config), *_by_scores()],
        columns=3,
    )


def _against_width(config: SoftmaxScaleConfig) -> list[Panel]:
    """Describe a panel for each quantity, against the width of queries and keys."""
    keys = 64 if 64 in config.num_keys else config.num_keys[-1]
    against_width = partial(
        Panel,
        table="widths",
        x="width",
        series="scores",
        where={"keys": keys},
        x_label="width d of queries and keys",
        y_label="",
    )
    return [
        against_width(
            y=column,
            low=f"{column}_low",
            high=f"{column}_high",
            dashed=dashed,
            log="xy" if column in {"norm", "query_gradient"} else "x",
            title=f"{title}, {keys} keys",
        )
        for column, title, dashed in (
            ("norm", "mean norm of the Jacobian", "theory"),
            ("log_norm_median", "median ln norm of the Jacobian", "theory_median"),
            ("dead", f"share of queries with a norm below {DEAD:g}", None),
            ("query_gradient", "mean gradient at a query", None),
        )
    ]


def _by_scores() -> list[Panel]:
    """Describe the norm against the scale of the scores, and for one score that stands out."""
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
    return [scales, peaks]
