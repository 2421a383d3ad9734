"""The figure of a run's stability."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from backlight.report.drawing import Drawing
from backlight.report.layout import figure_with_text, panels_in
from backlight.runs.results import Results

_LINES = (("half_agreement", "rank agreement", "#2b6cb0"), ("half_overlap", "overlap", "#b5542b"))


def draw(results: Results) -> Iterator[Drawing]:
    """List all figures.

    Args:
        results: The results, made just now or read from disk.

    Yields:
        The figure, not yet drawn.
    """
    yield Drawing(name="stability.png", make=partial(_stability, results))


def _stability(results: Results) -> Figure:
    table, about = results.tables["layers"], results.metadata
    statistics = list(dict.fromkeys(table["statistic"].tolist()))
    figure = figure_with_text(
        max(4.8 * len(statistics), 7.0),
        4.0,
        title="How alike random halves of a run's text are",
        subtitle=f"{about['model_name']}, run of backlight {about['split']}: "
        f"{about['run']['label']}",
        caption=[
            "Spearman's correlation of both halves' numbers, and the share of the largest that is "
            f"in both; bars: 95 % of {about['num_splits']:,} splits.",
        ],
    )
    panels = panels_in(figure, len(statistics), len(statistics))
    for statistic, axes in zip(statistics, panels, strict=True):
        own = table.select(table["statistic"] == statistic)
        for name, label, colour in _LINES:
            values = own[name]
            reach = np.abs(np.stack([own[f"{name}_low"], own[f"{name}_high"]]) - values)
            axes.errorbar(own["layer"], values, reach, color=colour, marker="o", label=label)
        axes.set(ylim=(min(0.0, float(np.nanmin(own["half_agreement_low"]))) - 0.05, 1.05))
        axes.set(xlabel="layer", ylabel="correlation, share")
        axes.set_title(statistic, fontsize=10)
        axes.legend(frameon=False, fontsize=8)
    return figure
